"""Small answers that many rules of a rollout give."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from fleet.rules.balance import Counts, counts_of
from fleet.rules.gates import Reading
from fleet.rules.phases import Phase, Verdict
from fleet.rules.state import (
    LATER,
    NOW,
    SELDOM,
    SOON,
    Decision,
    Memory,
    Place,
    Seen,
    State,
    Want,
    moment,
)

Rule = Callable[[State, Seen, datetime], Decision | None]


def stay(state: State, why: str, *, memory: Memory | None = None) -> Decision:
    """Same phase, nothing changed, look again soon."""
    return Decision(
        state.phase,
        state.step,
        why,
        cause=state.cause,
        resume_phase=state.resume_phase,
        memory=memory or state.memory,
    )


def enter(
    state: State, phase: Phase, why: str, *, step: int | None = None, memory: Memory | None = None
) -> Decision:
    """The next phase; its first work is done by the next pass, at once."""
    return Decision(
        phase,
        state.step if step is None else step,
        why,
        look_again=NOW,
        cause=state.cause,
        memory=memory or state.memory,
    )


def watch(
    state: State, why: str, held: timedelta, left: timedelta, *, memory: Memory | None = None
) -> Decision:
    """Wait for `left` to pass, rarer the longer it was `held`: what happens meanwhile rings.

    Many rollouts are open in this way at the same time, and each look costs their workers time
    in which somebody waits for an abort.
    """
    seldom = min(max(LATER, held / 10), SELDOM)
    return replace(stay(state, why, memory=memory), look_again=min(seldom, left))


def final(state: State, phase: Phase, why: str) -> Decision:
    return Decision(phase, state.step, why, look_again=None, cause=state.cause, memory=state.memory)


def ended_as(state: State, phase: Phase, why: str) -> tuple[Phase, str]:
    """How a way back ends: it made way for a newer rollout, or it is as it was before."""
    if not state.superseded_by:
        return phase, why
    return Phase.SUPERSEDED, f"{why}. {state.superseded_by} takes its place"


def failed_because(reading: Reading) -> str:
    return "; ".join(c.why for c in reading.checks if c.verdict is Verdict.FAIL)


def scale(state: State, counts: Counts, why: str) -> Decision:
    """Other numbers of replicas, the same traffic."""
    want = want_of(state, counts, state.weight_old, state.weight_new)
    return replace(stay(state, why), want=want, look_again=SOON)


def shift(state: State, seen: Seen, weights: tuple[int, int], why: str, now: datetime) -> Decision:
    """Other traffic, the same replicas."""
    memory = replace(state.memory, shifted_at=now.isoformat(), told=0, share=None)
    want = want_of(state, counts_of(seen), *weights)
    return replace(stay(state, why, memory=memory), want=want, look_again=SOON)


def want_of(state: State, counts: Counts, weight_old: int, weight_new: int) -> Want:
    old = Place(counts.old, weight_old) if state.has_old else Place(None, 0)
    return Want(old=old, new=Place(counts.new, weight_new))


def waited(state: State, now: datetime) -> timedelta:
    """Since the numbers of replicas last changed, or since the phase began."""
    since = moment(state.memory.progress_at)
    return now - max(since, state.phase_since) if since else now - state.phase_since


def seconds(duration: timedelta) -> str:
    whole = max(round(duration.total_seconds()), 0)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"
