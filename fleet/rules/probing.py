"""Whether an engine's answer to a probe is the one that its release must give. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

STILL = timedelta(seconds=30)  # an engine that has requests makes a step long before
OUT_AFTER = 2  # failed probes in a row take a replica out of routing
GOOD_ENDS = frozenset({"stop", "length"})


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found. `told` is for the operator."""

    passed: bool
    told: str
    milliseconds: float
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Beats:
    """An engine's samples of the last while: the fewest requests that ran, its steps so far."""

    since: datetime  # of the first sample
    until: datetime
    running: float
    steps_first: int
    steps_last: int


def frozen(beats: Beats) -> str:
    """What is told of an engine that is busy and makes no step; empty: it moves, or is idle.

    `/health` of such an engine says 200, and so does its `/metrics`.
    """
    still = beats.until - beats.since
    if beats.running <= 0 or beats.steps_first != beats.steps_last or still < STILL:
        return ""
    seconds = still.total_seconds()
    return f"frozen: {beats.running:.0f} requests run and no step was made for {seconds:.0f} s"


def judge(
    *,
    expected: str,
    fingerprint: str,
    finish_reason: str,
    milliseconds: float,
    prompt_tokens: int,
    completion_tokens: int,
) -> Probed:
    """`expected` is the fingerprint of the release that the pod's label names."""
    passed = fingerprint == expected and finish_reason in GOOD_ENDS
    if fingerprint != expected:
        told = f"answered as {fingerprint or 'nobody'}, its release is {expected}"
    elif not passed:
        told = f"ended its answer with {finish_reason or 'nothing'!r}"
    else:
        told = f"answered as {expected} in {milliseconds:.0f} ms"
    return Probed(passed, told[:200], milliseconds, prompt_tokens, completion_tokens)


def failed(told: str, milliseconds: float = 0.0) -> Probed:
    return Probed(False, told[:200], milliseconds)
