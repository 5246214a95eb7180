"""Which replicas to ask whether they are who they should be, and what their answers mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet.rules.groups import DECODE, is_worker
from fleet.rules.running import unlike
from fleet.rules.seen import Pod, Side

PASSES = 3  # answers in a row
TOKENS = 8  # asked for with ignore_eos, so exactly so many must come
AT_ONCE = 6  # pods probed in one pass


@dataclass(frozen=True, slots=True)
class Answers:
    """What a replica said: a list of completions in a row. `trouble`: no answer at all."""

    models: tuple[str, ...] = ()
    max_model_len: int | None = None
    version: str = ""
    config: Mapping[str, str] = field(default_factory=dict)  # of its cache, by label
    corrupted: float | None = None  # requests with NaN in their logits; None: not counted
    fingerprints: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()
    prompt_tokens: int = 0  # of all completions: they are in the engine's counters
    milliseconds: float = 0.0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """`wrong`: it answers, and not as this release would. Trouble may pass, wrong does not."""

    ok: bool
    wrong: bool
    text: str


@dataclass(frozen=True, slots=True)
class Expected:
    fingerprint: str
    service: str
    max_model_len: int  # 0: nothing is promised
    image: str  # repository@digest
    adapters: tuple[str, ...] = ()  # that it answers to beside the service's name
    config: Mapping[str, str] = field(default_factory=dict)  # as its arguments say


def to_probe(side: Side, *, again: bool = False) -> list[Pod]:
    """Loaded replicas without admission; `again`: the admitted ones as well."""
    found = [p for p in side.live if p.loaded and p.address and (again or not p.admitted)]
    found = [p for p in found if not is_worker(p.role)]  # its leader answers for it
    found = [p for p in found if p.role != DECODE or p.peer]  # it is asked for what it was handed
    return sorted(found, key=lambda p: p.created_at)[:AT_ONCE]


def judge(pod: Pod, answers: Answers, expected: Expected) -> Probe:
    """Compare what a replica said with what its release must say."""
    if wrong := wrong_identity(pod, answers, expected):
        return Probe(False, True, f"{pod.name}: {wrong}")
    if wrong := wrong_tokens(answers, expected) or wrong_work(answers, expected):
        return Probe(False, True, f"{pod.name}: {wrong}")
    if answers.trouble:
        return Probe(False, False, f"{pod.name}: {answers.trouble}")
    if len(answers.fingerprints) < PASSES:
        return Probe(False, False, f"{pod.name}: {len(answers.fingerprints)} of {PASSES} answers")
    return Probe(
        True,
        False,
        f"{pod.name}: {PASSES} of {PASSES} answers carry {expected.fingerprint},"
        f" vLLM {answers.version}",
    )


def wrong_identity(pod: Pod, answers: Answers, expected: Expected) -> str:
    digest = expected.image.partition("@")[2]
    # Without "@" it is the digest of a configuration, which cannot be compared.
    if "@" in pod.image_id and digest not in pod.image_id:
        return f"runs the image {pod.image_id}, approved is {expected.image}"
    if answers.models and expected.service not in answers.models:
        return f"serves {', '.join(answers.models)}, not {expected.service}"
    missing = [name for name in expected.adapters if name not in answers.models]
    if answers.models and missing:
        return f"serves {', '.join(answers.models)}, and not its adapter {missing[0]}"
    if answers.max_model_len is not None and answers.max_model_len < expected.max_model_len:
        return (
            f"takes {answers.max_model_len:,} tokens at most,"
            f" {expected.max_model_len:,} are promised"
        )
    return ""


def wrong_tokens(answers: Answers, expected: Expected) -> str:
    for fingerprint in answers.fingerprints:
        if fingerprint != expected.fingerprint:
            return f"answers as {fingerprint or 'nobody'}, not as {expected.fingerprint}"
    for tokens, reason in zip(answers.tokens, answers.reasons, strict=True):
        if tokens != TOKENS or reason != "length":
            return (
                f"asked for {TOKENS} tokens it gave {tokens} and ended with {reason or 'nothing'}"
            )
    return ""


def wrong_work(answers: Answers, expected: Expected) -> str:
    if answers.corrupted:
        return f"counted {answers.corrupted:.0f} requests with corrupted logits"
    return unlike(answers.config, expected.config)


def first_wrong(probes: Mapping[str, Probe], side: Side) -> Probe | None:
    """A wrong answer of one of these replicas."""
    uids = {p.uid for p in side.live}
    return next((p for uid, p in probes.items() if uid in uids and p.wrong), None)


def passed(probes: Mapping[str, Probe], side: Side) -> tuple[Pod, ...]:
    """Replicas to admit now."""
    return tuple(
        p for p in side.live if not p.admitted and (found := probes.get(p.uid)) and found.ok
    )
