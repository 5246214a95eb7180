"""The way back as lines for a shell: for the day when not even the console's database answers.

In the order of the machine's own way back: traffic first where the old release can carry it, old
replicas up as far as GPUs allow, and the new release goes last. Each line applies all fields that
we own under our own field manager, so that the console finds what it would have written itself.
"""

import json
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fleet.rules.capacity import Gpus, room_in, times
from fleet.rules.manifests import (
    ADMITTED,
    MANAGER,
    RELEASE,
    Manifest,
    deployments_of,
    each_of,
    files_of,
    placed,
)
from fleet.rules.members import LEADER_WORKER_SET

PATIENCE = "30m"


@dataclass(frozen=True, slots=True)
class Hand:
    """What must be known to go back by hand. `old` None: nothing served before."""

    title: str  # RO-12
    service: str
    new: Manifest
    old: Manifest | None
    old_label: str
    new_label: str
    old_wanted: int  # at the end
    old_now: int
    new_now: int
    mix_old: Gpus  # of a replica, by product
    mix_new: Gpus
    gpu_budget: Gpus  # both releases together
    fence: int


def lines_back(hand: Hand) -> list[str]:
    """Comments and commands, one a line, to be pasted into a shell as they are."""
    return list(_lines(hand))


def _lines(hand: Hand) -> Iterator[str]:
    goal = hand.old_label or "nothing"
    yield f"# {hand.title}: {hand.service} back to {goal}. Stop at the first line that fails."
    yield "# Workers that still run would work against it: stop them, or use `rollout rescue`."
    if hand.old is None:
        yield f"# Nothing served before: {hand.new_label} is taken away."
        yield from _delete(hand)
        return
    if hand.old_now >= hand.old_wanted:
        yield f"# {hand.old_label} still has all replicas: traffic leaves {hand.new_label} first."
        yield _admit(hand.new, False)
        yield from _up(hand, hand.old, hand.old_wanted)
    else:
        yield from _exchange(hand, hand.old)
        yield f"# {hand.old_label} serves: traffic leaves {hand.new_label}, then its replicas."
        yield _admit(hand.new, False)
    yield "sleep 5"
    yield from _delete(hand)
    yield _say(hand.old, "get pods", "-o wide")
    yield "# Once PostgreSQL answers, make the declared state agree and let it be verified:"
    yield f"# manage.py rollout rescue {hand.service} --as YOUR_EMAIL --why REASON"


def _exchange(hand: Hand, old: Manifest) -> Iterator[str]:
    """Old replicas as far as GPUs allow; where they do not, new ones make room one by one."""
    have, left = hand.old_now, hand.new_now
    while have < hand.old_wanted:
        free = Counter(hand.gpu_budget)
        free.subtract(times(left, hand.mix_new) + times(have, hand.mix_old))
        room = room_in(free, hand.mix_old, hand.old_wanted - have)
        if room < 1 and left:
            left -= 1
            gone = " Nothing answers until the next lines are through." if not left + have else ""
            yield f"# No GPU is free: one replica of {hand.new_label} makes room.{gone}"
            yield from _scale(hand.new, left, hand.fence)
            continue
        # With no new replica left there is nothing more to wait for: the scheduler decides.
        have = min(have + room, hand.old_wanted) if left else hand.old_wanted
        yield from _up(hand, old, have)


def _up(hand: Hand, old: Manifest, replicas: int) -> Iterator[str]:
    """Scale, wait until the replicas have loaded, admit them, wait until they serve."""
    yield f"# {hand.old_label} to {replicas} replicas, and wait until they have loaded."
    yield from (_apply(item) for item in files_of(old))
    yield from _scale(old, replicas, hand.fence)
    for item in deployments_of(old):
        pods = replicas * each_of(item)
        made = f"--for=jsonpath='{{.status.replicas}}'={pods} --timeout=2m"
        yield f"{_kubectl(item)} wait {kind_of(item)}/{item['metadata']['name']} {made}"
    yield _say(old, "wait pod", f"--for=condition=ContainersReady --timeout={PATIENCE}")
    yield _admit(old, True)
    for item in deployments_of(old):
        name = item["metadata"]["name"]
        if item["kind"] == LEADER_WORKER_SET:
            yield f"{_kubectl(item)} wait {kind_of(item)}/{name} --for=condition=Available"
        else:
            yield f"{_kubectl(item)} rollout status {kind_of(item)}/{name} --timeout=2m"


def _scale(manifest: Manifest, replicas: int, fence: int) -> Iterator[str]:
    """Each Deployment of the release: its roles keep their ratio."""
    for item in deployments_of(manifest):
        yield _apply(placed(item, replicas=replicas, fence=fence))


def kind_of(manifest: Manifest) -> str:
    """As kubectl takes it."""
    return str(manifest["kind"]).lower()


def _kubectl(manifest: Manifest) -> str:
    return f"kubectl -n {manifest['metadata']['namespace']}"


def _say(manifest: Manifest, verb: str, more: str) -> str:
    return f"{_kubectl(manifest)} {verb} -l {_selector(manifest)} {more}"


def _selector(manifest: Manifest) -> str:
    return f"{RELEASE}={manifest['metadata']['labels'][RELEASE]}"


def _apply(manifest: Manifest) -> str:
    text = shlex.quote(json.dumps(manifest, separators=(",", ":"), sort_keys=True))
    return (
        f"printf %s {text} |"
        f" {_kubectl(manifest)} apply --server-side --field-manager={MANAGER} -f -"
    )


def _admit(manifest: Manifest, yes: bool) -> str:
    """The readiness gate of all its pods; a probe of the console sets it otherwise."""
    condition = {"type": ADMITTED, "status": "True" if yes else "False", "reason": "ByHand"}
    patch = shlex.quote(json.dumps({"status": {"conditions": [condition]}}, separators=(",", ":")))
    names = _say(manifest, "get pods", "-o name")
    kubectl = f"{_kubectl(manifest)} patch {{}} --subresource=status"
    return f"{names} | xargs -r -I{{}} {kubectl} --field-manager={MANAGER} -p {patch}"


def _delete(hand: Hand) -> Iterator[str]:
    for item in deployments_of(hand.new):
        name = item["metadata"]["name"]
        gone = "--cascade=foreground --ignore-not-found"
        yield f"{_kubectl(item)} delete {kind_of(item)} {name} {gone}"
