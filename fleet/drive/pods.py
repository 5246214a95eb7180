"""What a rollout keeps of its pods: who they were and when they went, and why one failed."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import structlog

from fleet.clients.errors import ClientError
from fleet.clients.workloads import Workloads
from fleet.drive.look import View
from fleet.models import Release, RolloutLog, RolloutPod
from fleet.rules.logs import BYTES, LINES, Wanted, kept_text, logs_wanted
from fleet.rules.phases import GOING_BACK, Phase
from fleet.rules.seen import Pod, Side
from fleet.rules.state import Decision
from tenants.base.scope import fleet_scope

log = structlog.get_logger(__name__)
LONGEST_ROLE = 16
CHANGES = (
    "node", "start_seconds", "restarts", "trouble", "answered", "answered_at", "gone_at",
)  # fmt: skip


def sides_of(view: View) -> tuple[tuple[Side, Release], ...]:
    r, seen = view.rollout, view.seen
    old = ((seen.old, r.from_release),) if r.from_release else ()
    return ((seen.new, r.to_release), *old)


def looked(view: View) -> bool:
    """Whether this pass saw the pods: a cluster that does not answer has not lost them."""
    before = (Phase.VALIDATING, Phase.AWAITING_APPROVAL)
    return view.workloads is not None and not view.seen.trouble and view.state.phase not in before


def store_pods(view: View, d: Decision, now: datetime) -> None:
    """Part of the pass's record. Only what differs is written."""
    if not looked(view):
        return
    known = {p.uid: p for p in RolloutPod.objects.filter(rollout=view.rollout)}
    new: list[RolloutPod] = []
    changed: list[RolloutPod] = []
    seen: set[str] = set()
    for side, release in sides_of(view):
        for pod in side.pods:
            seen.add(pod.uid)
            row = known.get(pod.uid) or row_of(view, pod, release)
            before = [getattr(row, f) for f in CHANGES]
            refresh(view, d, row, pod, now)
            if row.pk is None:
                new.append(row)
            elif before != [getattr(row, f) for f in CHANGES]:
                changed.append(row)
    for uid, row in known.items():
        if uid not in seen and row.gone_at is None:
            row.gone_at = now
            changed.append(row)
    RolloutPod.objects.bulk_create(new)
    RolloutPod.objects.bulk_update(changed, CHANGES)


def row_of(view: View, pod: Pod, release: Release) -> RolloutPod:
    return RolloutPod(
        rollout=view.rollout,
        uid=pod.uid,
        release=release.fingerprint,
        name=pod.name,
        role=pod.role[:LONGEST_ROLE],  # a label, which somebody may have changed
        created_at=pod.created_at,
    )


def refresh(view: View, d: Decision, row: RolloutPod, pod: Pod, now: datetime) -> None:
    row.node, row.restarts, row.gone_at = pod.node, pod.restarts, None
    row.trouble = trouble_of(pod)
    if pod.uid in d.admit:
        row.start_seconds = max((now - pod.created_at).total_seconds(), 0.0)  # clocks may differ
    said = view.answers.get(pod.uid)
    if said and said.fingerprints:
        row.answered, row.answered_at = said.fingerprints[-1][:40], now


def trouble_of(pod: Pod) -> str:
    ended = f"{pod.exit_reason} {pod.exit_code}" if pod.exit_code else ""
    words = (pod.unschedulable, pod.waiting, pod.waiting_text, ended)
    return ": ".join(w for w in words if w)


def keep_logs(view: View, d: Decision, now: datetime) -> None:
    """After the record: traffic waits for no log, and a log that cannot be read stops nothing."""
    if not looked(view):
        return
    leaving = d.phase in GOING_BACK and view.state.phase not in GOING_BACK
    rows = RolloutLog.objects.filter(rollout=view.rollout)
    known: dict[str, int] = dict(rows.values_list("pod_uid", "restarts"))
    wanted = [
        (one, release)
        for side, release in sides_of(view)
        for one in logs_wanted(side, known, leaving=leaving)
    ]
    with_logs = [log_of(view, one, release, now) for one, release in wanted]
    if with_logs:
        store_logs(with_logs)


def store_logs(rows: Iterable[RolloutLog]) -> None:
    with fleet_scope():
        RolloutLog.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["rollout", "pod_uid", "previous"],
            update_fields=["restarts", "at", "text", "trouble"],
        )


def log_of(view: View, wanted: Wanted, release: Release, now: datetime) -> RolloutLog:
    assert view.workloads is not None
    text, trouble = read(view.workloads, wanted)
    if not (text or trouble or wanted.pod.restarts):
        # A probe may have ended the container since the look: what was wrong is in its run before.
        before = replace(wanted, previous=True)
        earlier, none = read(view.workloads, before)
        wanted, text = (before, earlier) if earlier and not none else (wanted, text)
    return RolloutLog(
        rollout=view.rollout,
        pod_uid=wanted.pod.uid,
        pod=wanted.pod.name,
        release=release.fingerprint,
        previous=wanted.previous,
        restarts=wanted.pod.restarts,
        at=now,
        text=kept_text(text),
        trouble=trouble,
    )


def read(workloads: Workloads, wanted: Wanted) -> tuple[str, str]:
    """The text and what kept it from being read. Then the container's last words are all."""
    try:
        name, previous = wanted.pod.name, wanted.previous
        return workloads.log(name, previous=previous, lines=LINES, most=BYTES), ""
    except ClientError as error:
        log.info("a log could not be read", pod=wanted.pod.name, error=error.message)
        return wanted.pod.exit_text, error.message
