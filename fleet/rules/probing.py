"""Whether an engine's answer to a probe is the one that its release must give. Pure."""

from dataclasses import dataclass

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
