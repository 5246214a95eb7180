"""Drills of a lost pod: one replica is killed on purpose, and traffic has to hold. Pure.

Ordered checks, one move a pass. Whom to kill is recorded before it is killed: a pass that is made
twice kills the same pod, which is gone by then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from fleet.rules.drill import Check, DrillVerdict, Limits
from fleet.rules.moves import seconds
from fleet.rules.seen import Pod, Side
from fleet.rules.state import Approval

PATIENCE = timedelta(hours=1)  # for a quiet moment, once it is approved
GRACE_SECONDS = 1  # SIGKILL follows: what it was answering is cut, as when a pod is lost
NOW, SOON, LATER = timedelta(0), timedelta(seconds=1), timedelta(seconds=15)
USUAL = Limits(traffic_back_seconds=30, full_back_seconds=600, requests_lost=0)


class LossPhase(StrEnum):
    AWAITING_APPROVAL = "awaiting_approval"
    CHOOSING = "choosing"
    KILLING = "killing"
    WATCHING = "watching"
    ENDED = "ended"
    CANCELLED = "cancelled"  # nothing was killed


FINAL = frozenset({LossPhase.ENDED, LossPhase.CANCELLED})


@dataclass(frozen=True, slots=True)
class LossState:
    """As it is stored. `before`: replicas that served when the pod was chosen."""

    phase: LossPhase
    phase_since: datetime
    limits: Limits
    consent: bool = False  # to the only replica
    approval: Approval = Approval()
    uid: str = ""
    pod: str = ""
    node: str = ""
    gpus: int = 0
    before: int = 0
    least: int | None = None
    killed_at: datetime | None = None
    out_at: datetime | None = None  # gateways are told of it no more
    replaced_by: str = ""
    replaced_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LossSeen:
    side: Side = Side()
    routed: frozenset[str] = frozenset()  # uids of pods that gateways are told of
    trouble: str = ""  # the cluster could not be asked
    moving: str = ""  # a rollout of the service that is open: RO-12
    frozen: str = ""  # the calendar's sentence


@dataclass(frozen=True, slots=True)
class LossDecision:
    state: LossState
    why: str
    look_again: timedelta | None = SOON
    kills: bool = False


def decide(state: LossState, seen: LossSeen, now: datetime) -> LossDecision:
    return RULES[state.phase](state, seen, now)


def awaiting(state: LossState, seen: LossSeen, now: datetime) -> LossDecision:
    found = state.approval
    if found.state == "waiting":
        return LossDecision(state, "Waits for somebody else's approval", LATER)
    if found.state == "approved":
        return enter(state, LossPhase.CHOOSING, f"Approved by {found.by}", now)
    said = f": {found.why}" if found.why else ""
    by = f" by {found.by}" if found.by else ""
    return cancelled(state, f"{found.state.capitalize()}{by}{said}. Nothing was killed", now)


def choosing(state: LossState, seen: LossSeen, now: datetime) -> LossDecision:
    """Only a service that is well is drilled: otherwise the drill were an outage."""
    hindrance = hindrance_of(state, seen)
    if hindrance and now - state.phase_since > PATIENCE:
        why = f"No quiet moment in {seconds(PATIENCE)}, nothing was killed. {hindrance}"
        return cancelled(state, why, now)
    if hindrance:
        return LossDecision(state, f"Kills nothing yet. {hindrance}", LATER)
    serving = [p for p in seen.side.pods if p.serves and p.uid in seen.routed]
    pod = max(serving, key=lambda p: (p.created_at, p.name))
    chosen = replace(
        state, uid=pod.uid, pod=pod.name, node=pod.node, gpus=pod.gpus, before=seen.side.serving
    )
    why = f"{pod.name} on {pod.node} is chosen, 1 of {seen.side.serving} replicas that serve"
    return enter(chosen, LossPhase.KILLING, why, now)


def hindrance_of(state: LossState, seen: LossSeen) -> str:
    side = seen.side
    if seen.trouble:
        return f"The cluster cannot be asked: {seen.trouble}"
    if seen.moving:
        return f"{seen.moving} moves this service"
    if seen.frozen:
        return seen.frozen
    if side.serving < side.wanted or side.terminating:
        return f"{side.serving} of {side.wanted} replicas serve, {side.terminating} are leaving"
    if not any(p.serves and p.uid in seen.routed for p in side.pods):
        return "No replica takes traffic"
    if side.serving < 2 and not state.consent:
        return "It has one replica: without consent the only one is not killed"
    return ""


def killing(state: LossState, seen: LossSeen, now: datetime) -> LossDecision:
    if seen.trouble:
        return LossDecision(state, f"Tries again. {seen.trouble}")
    if any(p.uid == state.uid and p.serves for p in seen.side.pods):
        if now - state.phase_since > PATIENCE:
            why = f"The cluster did not kill {state.pod} for {seconds(PATIENCE)}"
            return cancelled(state, f"{why}: nothing was killed", now)
        if hindrance := hindrance_of(state, seen):  # the worker that chose it may have died
            nobody = replace(state, uid="", pod="", node="", gpus=0, before=0)
            return enter(nobody, LossPhase.CHOOSING, f"Kills nothing yet. {hindrance}", now)
    least = max(state.before - 1, 0)
    killed = replace(state, killed_at=now, least=min(seen.side.serving, least))
    why = f"{state.pod} is killed, {GRACE_SECONDS} s after being asked to end"
    return replace(enter(killed, LossPhase.WATCHING, why, now), kills=True)


def watching(state: LossState, seen: LossSeen, now: datetime) -> LossDecision:
    assert state.killed_at is not None
    held, most = now - state.killed_at, timedelta(seconds=2 * state.limits.full_back_seconds)
    late = held > most
    if seen.trouble and not late:
        return LossDecision(state, f"The cluster cannot be asked. {seen.trouble}")
    state = noted(state, seen, now)
    if is_whole(state, seen):
        newest = newest_of(seen.side.pods)
        ended = replace(state, replaced_by=newest.name, replaced_at=now)
        why = f"{newest.name} on {newest.node} serves in its place, {seconds(held)} after the kill"
        return final(ended, LossPhase.ENDED, why, now)
    words = f"{seen.side.serving} of {state.before} replicas serve, {seconds(held)} after the kill"
    if late:
        return final(state, LossPhase.ENDED, f"No replica came in its place. {words}", now)
    return LossDecision(state, words)


def noted(state: LossState, seen: LossSeen, now: datetime) -> LossState:
    if seen.trouble:
        return state
    serving = seen.side.serving
    least = serving if state.least is None else min(state.least, serving)
    is_out = state.out_at is None and state.uid not in seen.routed
    return replace(state, least=least, out_at=now if is_out else state.out_at)


def is_whole(state: LossState, seen: LossSeen) -> bool:
    """As many serve as before, the killed one is none of them, and gateways know all of them."""
    serving = [p for p in seen.side.pods if p.serves]
    known = all(p.uid in seen.routed for p in serving) and state.out_at is not None
    there = any(p.uid == state.uid for p in serving)
    return not seen.trouble and known and not there and seen.side.serving >= state.before


def newest_of(pods: Sequence[Pod]) -> Pod:
    return max((p for p in pods if p.serves), key=lambda p: (p.created_at, p.name))


def enter(state: LossState, phase: LossPhase, why: str, now: datetime) -> LossDecision:
    return LossDecision(replace(state, phase=phase, phase_since=now), why, NOW)


def final(state: LossState, phase: LossPhase, why: str, now: datetime) -> LossDecision:
    return LossDecision(replace(state, phase=phase, phase_since=now), why, None)


def cancelled(state: LossState, why: str, now: datetime) -> LossDecision:
    return final(state, LossPhase.CANCELLED, why, now)


def over(state: LossState, seen: LossSeen, now: datetime) -> LossDecision:
    return LossDecision(state, "", None)


RULES = {
    LossPhase.AWAITING_APPROVAL: awaiting,
    LossPhase.CHOOSING: choosing,
    LossPhase.KILLING: killing,
    LossPhase.WATCHING: watching,
    LossPhase.ENDED: over,
    LossPhase.CANCELLED: over,
}


@dataclass(frozen=True, slots=True)
class LossMeasured:
    """Of a drill that has ended. Seconds count from the kill; None: it did not come to that."""

    killed: bool
    before: int
    least: int | None
    out: float | None
    replaced: float | None
    served: int  # requests, in the slots from the kill to the end
    lost: int
    lost_by_tenant: Sequence[tuple[str, int]] = field(default_factory=tuple)


def judge(
    found: LossMeasured, limits: Limits, promised: float | None
) -> tuple[DrillVerdict, list[Check]]:
    """All checks have to pass. Where nothing was killed there is no proof either way."""
    if not found.killed:
        return DrillVerdict.NOT_RUN, []
    held = found.before - 1
    least = 0 if found.least is None else found.least
    checks = [
        within("Gateways without it", None, limits.traffic_back_seconds, found.out),
        within("Another one serves", promised, limits.full_back_seconds, found.replaced),
        Check(
            "Replicas that held", "replicas", None, f"at least {held}", str(least), least >= held
        ),
        Check(
            "Requests lost", "requests", None, f"at most {limits.requests_lost}", str(found.lost),
            found.lost <= limits.requests_lost,
        ),
        Check("Requests served meanwhile", "requests", None, "counted", str(found.served), True),
    ]  # fmt: skip
    whole = all(check.passed for check in checks)
    return DrillVerdict.PASSED if whole else DrillVerdict.FAILED, checks


def within(name: str, promised: float | None, limit: float, measured: float | None) -> Check:
    said = "not seen" if measured is None else f"{measured:.1f} s"
    kept = measured is not None and measured <= limit
    return Check(name, "seconds", promised, f"at most {limit:g} s", said, kept)


def sentence(verdict: DrillVerdict, checks: Sequence[Check], why: str) -> str:
    if verdict is DrillVerdict.NOT_RUN:
        return f"Nothing was killed, so nothing was proved. {why}"
    measured = {c.name: c.measured for c in checks}
    if verdict is DrillVerdict.PASSED:
        return (
            f"Gateways were without it after {measured['Gateways without it']}, another one served"
            f" after {measured['Another one serves']}, and {measured['Requests lost']} of"
            f" {int(measured['Requests lost']) + int(measured['Requests served meanwhile'])}"
            " requests were lost"
        )
    broken = [f"{c.name.lower()}: {c.measured}, {c.limit}" for c in checks if not c.passed]
    return f"Not as it must be. {'; '.join(broken)}. {why}"
