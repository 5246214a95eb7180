"""How a client behaves: pure, repeatable from its seed."""

import random
from dataclasses import dataclass
from typing import Any

# Shared beginnings make prefix caches earn something, as system prompts do in production.
SYSTEM = (
    "You are a careful assistant of the support desk. Answer in short sentences, name the part "
    "of the handbook that you rely on, and say so when you do not know. "
)
WORDS = (
    *("order", "invoice", "node", "queue", "parcel", "valve", "meter", "region", "backup"),
    *("ticket", "driver", "sensor", "river", "contract", "warehouse", "schedule", "signal"),
    *("battery", "customer", "release", "engine", "window", "delay", "weight", "answer"),
)
LONGEST_PROMPT = 600  # words; the small model reads 2,048 bytes


@dataclass(frozen=True)
class Habits:
    """What clients of one traffic class do. Lengths are medians."""

    per_second: float
    prompt_words: int
    max_tokens: int
    stream: float  # share of requests
    cancel: float  # share of streams that the client leaves early
    burst_every: float  # seconds
    burst_seconds: float
    burst_factor: float


HABITS = {
    "critical": Habits(0.3, 20, 24, 1.0, 0.0, 600, 5, 2),
    "interactive": Habits(0.8, 40, 48, 0.9, 0.03, 240, 10, 4),
    "batch": Habits(0.35, 120, 96, 0.2, 0.0, 420, 30, 5),
}


@dataclass(frozen=True)
class Ask:
    """One request, decided."""

    model: str
    body: dict[str, Any]
    leave_after: int | None  # chunks, then the client goes away


def rate_at(habits: Habits, seconds: float, phase: float) -> float:
    """Return the requests per second at a moment; `phase` parts clients of one kind."""
    in_cycle = (seconds + phase) % habits.burst_every
    return habits.per_second * (habits.burst_factor if in_cycle < habits.burst_seconds else 1.0)


def next_ask(habits: Habits, model: str, dice: random.Random) -> Ask:
    words = min(LONGEST_PROMPT, max(3, int(dice.lognormvariate(0, 0.5) * habits.prompt_words)))
    question = " ".join(dice.choice(WORDS) for _ in range(words))
    stream = dice.random() < habits.stream
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"{question}?"},
        ],
        "max_tokens": max(4, int(dice.lognormvariate(0, 0.4) * habits.max_tokens)),
        "stream": stream,
    }
    leaves = stream and dice.random() < habits.cancel
    return Ask(model, body, dice.randint(2, 8) if leaves else None)
