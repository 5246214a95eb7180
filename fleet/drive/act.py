"""Act: make the cluster what was decided. Every effect may happen twice without harm."""

from datetime import datetime
from typing import Any

from fleet.clients.workloads import Owned
from fleet.drive.fetching import fetch
from fleet.drive.look import View
from fleet.drive.place import put, remove
from fleet.rules.manifests import ADMITTED
from fleet.rules.phases import GOING_BACK
from fleet.rules.seen import Pod, Side
from fleet.rules.state import KEEP, Decision, Place


def act(view: View, decision: Decision, now: datetime) -> None:
    """Admit verified replicas first, then scale; raises what the cluster refuses."""
    if view.workloads is None:
        return
    pods = {p.uid: p for side in (view.seen.old, view.seen.new) for p in side.pods}
    for uid in decision.admit:
        admit(view, pods[uid], now)
    fetch(
        view.workloads, view.fetching, view.rollout, view.manifests.get("new", {}), view.seen,
        decision, view.state.prefetch.total_seconds(),
    )  # fmt: skip
    if decision.want is None:
        return
    place(view, "old", view.seen.old, decision.want.old)
    try:
        place(view, "new", view.seen.new, decision.want.new)
    except Owned:
        if decision.phase not in GOING_BACK or decision.want.new.replicas:
            raise
        # All of it goes: what somebody else wrote into it must not hold up the way back.
        remove(view.workloads, view.seen.new)


def admit(view: View, pod: Pod, now: datetime) -> None:
    assert view.workloads is not None
    view.workloads.set_condition(pod.name, pod.uid, admission(view.seen.probes[pod.uid].text, now))


def admission(text: str, now: datetime) -> dict[str, Any]:
    """The readiness gate's condition: this replica proved who it is."""
    return {
        "type": ADMITTED,
        "status": "True",
        "reason": "Verified",
        "message": text,
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def place(view: View, which: str, side: Side, wanted: Place) -> None:
    """Scale, make or delete one release, if it is not as wanted already."""
    assert view.workloads is not None
    manifest = view.manifests.get(which)
    if manifest is None or wanted.replicas == KEEP:
        return
    if wanted.replicas is None:
        remove(view.workloads, side)
        return
    missing = not side.exists and (which == "new" or wanted.replicas > 0)
    as_wanted = side.wanted == wanted.replicas and not side.uneven
    if not missing and (not side.exists or as_wanted):
        return
    if missing:
        for around in view.around:
            view.workloads.apply(around)
    fence = view.rollout.fence
    put(view.workloads, manifest, replicas=wanted.replicas, fence=fence, side=side)


def writes(view: View, decision: Decision) -> bool:
    """Whether `act` would touch the cluster's workloads: from then on a way back is needed."""
    if decision.want is None or view.workloads is None:
        return False
    return decision.want.new.replicas not in (None, KEEP)
