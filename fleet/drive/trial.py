"""What the API server would say to a rollout, before anybody approves it. Nothing is changed."""

from collections.abc import Iterable, Mapping

from fleet.clients.errors import Denied, Permanent
from fleet.clients.workloads import Owned, Workloads
from fleet.drive.drift import adopts, as_it_is
from fleet.drive.fetching import missing_claim
from fleet.drive.place import try_out
from fleet.models import Release, Rollout
from fleet.rules.balance import kept_old
from fleet.rules.groups import shape_from
from fleet.rules.manifests import Manifest, kinds_of, selector_of
from fleet.rules.seen import read_side
from fleet.rules.state import State


def dry_run(
    r: Rollout,
    state: State,
    workloads: Workloads,
    manifests: Mapping[str, Manifest],
    around: Iterable[Manifest],
) -> str:
    """Empty, or what it refuses for good. `manifests` by side: old, new."""
    try:
        for manifest in around:
            workloads.apply(manifest, dry_run=True)
        try_out(workloads, manifests["new"], fence=r.fence)
        lacks = missing_claim(manifests["new"], workloads)
    except Denied:
        raise  # of the account, not of what would be applied
    except Permanent as error:
        return error.message
    if lacks or r.from_release is None:
        return lacks
    return owned_by_others(r, r.from_release, state, workloads, manifests["old"])


def owned_by_others(
    r: Rollout, old: Release, state: State, workloads: Workloads, manifest: Manifest
) -> str:
    """Whom the first write to the old release would meet, where the plan has it shrink."""
    found = workloads.look(selector_of(r.service.name), kinds_of(manifest))
    side = read_side(found, old.fingerprint, shape_from(old.resources, old.roles))
    if not side.exists or max(side.wanted, state.old_replicas) <= kept_old(state):
        return ""
    if adopts(r):
        manifest = as_it_is(manifest, found["deployments"])
    try:
        try_out(workloads, manifest, fence=r.fence)
    except Owned as error:
        more = "It becomes ours by a repair, where its value differs from what is declared"
        return f"{old} has to shrink on the way. {error.message}. {more}"
    return ""
