"""What a gate allows a canary on top of stable, and which of that a proposal may set."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Canary against stable. The absolute slack keeps tiny latencies from failing on noise.

    None: the figure is shown, and not judged.
    """

    error_points: float = 0.01  # share of failed requests on top of stable's
    ttft_ratio: float = 1.25
    itl_ratio: float = 1.15
    slack_ms: float = 10.0
    stable_samples: int = 20
    refused_points: float = 0.01  # share of requests that the engines refuse, on top of stable's
    output_ratio: float = 1.2  # median length of answers, longer or shorter
    abort_points: float | None = 0.01  # share of requests that the engines give up
    length_points: float | None = 0.05  # share of answers that end at the limit of tokens
    gpu_ratio: float | None = 1.25  # GPU time of one token, median
    preemption_ratio: float | None = 1.5  # preemptions a request
    cache_points: float | None = None  # share of prompt tokens from the cache, below stable's
    fewest: int = 20  # samples, below which no group is judged
    alpha: float = 0.05  # false alarms of a whole rollout to a release like the old one
    doubt: float = 0.05  # a figure beyond its limit by so small a chance is waited out


@dataclass(frozen=True, slots=True)
class Choice:
    """One limit that people may set. Points are shares from 0 to 1, ratios are times stable's."""

    title: str
    least: float
    most: float
    optional: bool = False  # without it the figure is shown and not judged

    @property
    def unit(self) -> str:
        return "points" if self.least < 1 else "ratio"


def points(title: str, *, optional: bool = False) -> Choice:
    return Choice(title, 0.0, 1.0, optional)


def ratio(title: str, *, optional: bool = False) -> Choice:
    return Choice(title, 1.0, 100.0, optional)


CHOICES: Mapping[str, Choice] = {
    "error_points": points("Failed requests"),
    "refused_points": points("Refused by the engine"),
    "abort_points": points("Given up by the engine", optional=True),
    "length_points": points("Ended at the token limit", optional=True),
    "ttft_ratio": ratio("TTFT"),
    "itl_ratio": ratio("ITL"),
    "output_ratio": ratio("Length of answers, longer or shorter"),
    "gpu_ratio": ratio("GPU time of a token", optional=True),
    "preemption_ratio": ratio("Preemptions a request", optional=True),
    "cache_points": points("Prompt tokens from the cache, fewer", optional=True),
}


def read_limits(given: Mapping[str, Any]) -> dict[str, float | None]:
    """Checked limits of a proposal; raise ValueError with a sentence."""
    found: dict[str, float | None] = {}
    for name, value in given.items():
        choice = CHOICES.get(name)
        if choice is None:
            raise ValueError(f"There is no limit '{name}': {', '.join(CHOICES)}")
        found[name] = _checked(name, choice, value)
    return found


def _checked(name: str, choice: Choice, value: Any) -> float | None:
    if value is None and choice.optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        also = ", or nothing: shown, not judged" if choice.optional else ""
        raise ValueError(f"{name} is a number{also}")
    if not choice.least <= value <= choice.most:
        raise ValueError(f"{name} is {value:g}: between {choice.least:g} and {choice.most:g}")
    return float(value)


def limits_in(lines: list[str]) -> dict[str, float | None]:
    """Limits as a terminal gives them: `ttft_ratio=1.5`, `cache_points=none`."""
    given: dict[str, Any] = {}
    for line in lines:
        name, found, text = line.partition("=")
        if not found:
            raise ValueError(f"'{line[:40]}' is not like: ttft_ratio=1.5 or cache_points=none")
        try:
            given[name.strip()] = None if text.strip().lower() == "none" else float(text)
        except ValueError as error:
            raise ValueError(f"{name.strip()} is no number: '{text[:40]}'") from error
    return read_limits(given)


def limits_of(
    chosen: Mapping[str, float | None], gpus_new: int = 0, gpus_old: int = 0
) -> GateLimits:
    """The usual limits with those that were chosen. More GPUs a replica are part of the plan that
    people approve: the usual limit of a token's GPU time grows with them.
    """
    usual = GateLimits()
    if gpus_old and gpus_new > gpus_old and usual.gpu_ratio is not None:
        usual = GateLimits(gpu_ratio=round(usual.gpu_ratio * gpus_new / gpus_old, 4))
    return GateLimits(**asdict(usual) | dict(chosen))


def unusual(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Of the numbers frozen into a rollout: limits that somebody chose otherwise, in words."""
    usual = told(asdict(limits_of({}, numbers.get("gpus_new", 0), numbers.get("gpus_old", 0))))
    mine = told(numbers["limits"])
    return {title: words for title, words in mine.items() if words != usual[title]}


def chosen_words(limits: Mapping[str, Any]) -> dict[str, str]:
    """Of those that somebody chose."""
    return {CHOICES[name].title: _words(CHOICES[name], value) for name, value in limits.items()}


def told(limits: Mapping[str, Any]) -> dict[str, str]:
    """Of limits as they are stored: name in words and limit, for people. Where an older program
    stored none, the usual one holds.
    """
    stored = asdict(GateLimits()) | dict(limits)
    return {choice.title: _words(choice, stored[name]) for name, choice in CHOICES.items()}


def _words(choice: Choice, value: float | None) -> str:
    if value is None:
        return "shown, not judged"
    if choice.unit == "points":
        return f"{100 * value:.3g} points"
    return f"{value:.4g} times stable's"
