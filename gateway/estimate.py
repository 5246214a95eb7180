"""Guess what a request will use, learned from what requests did use."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from gateway.normalise import Asked

UNKNOWN_TOKENS_PER_BYTE = 0.5
TEMPLATE_TOKENS = 8  # what a chat template adds
KEPT = 128
MIN_KNOWN = 16
OUTPUT_MARGIN = 1.2
MAX_STREAMS = 20_000  # tenant and model pairs remembered


@dataclass
class _Recent:
    """The last values and their 95th percentile, recomputed now and then."""

    values: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    p95: float | None = None
    _fresh: int = 0

    def add(self, value: float) -> None:
        self.values.append(value)
        self._fresh += 1
        if len(self.values) >= MIN_KNOWN and (self.p95 is None or self._fresh >= MIN_KNOWN):
            ordered = sorted(self.values)
            self.p95 = ordered[int(0.95 * (len(ordered) - 1))]
            self._fresh = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens. `output` is likely, `output_bound` is the most that the engine may make."""

    prompt: int
    output: int
    output_bound: int

    @property
    def tokens(self) -> int:
        return self.prompt + self.output


class Estimator:
    def __init__(self) -> None:
        self._per_byte: dict[str, _Recent] = {}
        self._outputs: dict[tuple[int, str], _Recent] = {}

    def estimate(self, asked: Asked, tenant_id: int, max_model_len: int) -> Estimate:
        bound = asked.max_tokens
        recent = self._outputs.get((tenant_id, asked.model))
        likely = bound
        if recent is not None and recent.p95 is not None:
            likely = min(bound, int(OUTPUT_MARGIN * recent.p95) + 1)
        prompt = min(self._prompt(asked), max_model_len * asked.choices)
        return Estimate(
            prompt=prompt, output=likely * asked.choices, output_bound=bound * asked.choices
        )

    def _prompt(self, asked: Asked) -> int:
        if asked.prompt_token_ids:
            return asked.prompt_token_ids
        ratio = self._per_byte.get(asked.model)
        known = ratio.p95 if ratio is not None else None
        per_byte = UNKNOWN_TOKENS_PER_BYTE if known is None else known
        return int(asked.body_bytes * per_byte) + TEMPLATE_TOKENS

    def learn(self, asked: Asked, tenant_id: int, *, prompt: int, completion: int) -> None:
        """Take in the engine's own count of one finished request."""
        if not asked.prompt_token_ids and asked.body_bytes:
            ratio = self._per_byte.setdefault(asked.model, _Recent())
            ratio.add(prompt / asked.body_bytes)
        key = (tenant_id, asked.model)
        recent = self._outputs.get(key)
        if recent is None:
            if len(self._outputs) >= MAX_STREAMS:
                self._outputs.clear()
            recent = self._outputs[key] = _Recent()
        recent.add(completion / asked.choices)
