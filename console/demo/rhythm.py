"""The demo's past: pure, the same again from the same ids and the same end.

Requests follow the working day of the tenant's own time zone, are fewer at weekends, grow a
little over the weeks, and one in thirty does not simply work.
"""

import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from console.demo.cast import DemoApplication
from gateway.contract.outcomes import ANSWERED, Outcome, TrafficClass, UsageQuality
from gateway.contract.usage import UsageEvent

DAYS = 60
GROWTH_PER_DAY = 0.006
WEEKEND = 0.35
# Share of requests, reason, HTTP status. What is left was served.
TROUBLE = (
    (0.009, Outcome.CANCELLED, "client_left", 499),
    (0.007, Outcome.REROUTED, "upstream_error", 200),
    (0.006, Outcome.REJECTED, "rpm", 429),
    (0.004, Outcome.SHED, "pool_full", 503),
    (0.003, Outcome.TIMED_OUT, "queue_time", 504),
    (0.002, Outcome.FAILED, "upstream_error", 502),
)
# Median prompt and answer in tokens, share of the prompt that is usually cached.
LENGTHS = {"critical": (180, 40, 0.5), "interactive": (420, 160, 0.4), "batch": (1_600, 420, 0.1)}
# Milliseconds: to the first token, then for each further one.
PACE = {"chat-small": (55.0, 9.0), "chat-large": (160.0, 22.0)}


@dataclass(frozen=True)
class Caller:
    """An application with its ids, as the ingest door knows them."""

    tenant_id: int
    application_id: int
    credential_id: int
    time_zone: str
    application: DemoApplication
    service_ids: dict[str, int]


def events_of_day(caller: Caller, day: datetime, end: datetime) -> Iterator[UsageEvent]:
    """Yield the requests of one UTC day, those before `end`."""
    for hour in range(24):
        start = day + timedelta(hours=hour)
        dice = random.Random(f"{caller.application_id}/{start.isoformat()}")
        expected = rate(caller, start, end)
        count = max(0, round(dice.gauss(expected, math.sqrt(expected))))
        for _ in range(count):
            at = start + timedelta(seconds=dice.uniform(0, 3_590))
            if at < end - timedelta(minutes=2):
                yield _event(caller, at, dice)


def rate(caller: Caller, start: datetime, end: datetime) -> float:
    """Return the requests expected in the hour that begins at `start`."""
    here = start.astimezone(ZoneInfo(caller.time_zone))
    if caller.application.traffic_class == "batch":
        daily = 3.0 if here.hour in (1, 2, 3, 4) else 0.6
    else:
        daily = 0.15 + 1.9 * math.exp(-(((here.hour + here.minute / 60 - 14) / 4.2) ** 2))
    weekly = WEEKEND if here.weekday() >= 5 else 1.0
    growth = 1 - GROWTH_PER_DAY * (end - start).days
    return caller.application.per_day / 24 * daily * weekly * growth


def _event(caller: Caller, at: datetime, dice: random.Random) -> UsageEvent:
    application = caller.application
    traffic_class = TrafficClass(application.traffic_class)
    outcome, reason, status = _outcome(dice)
    model = dice.choices(application.models, (4, 1)[: len(application.models)])[0]
    prompt, cached, completion = _tokens(traffic_class, outcome, dice)
    slow = dice.lognormvariate(0, 0.35)
    queue = dice.expovariate(1 / 12) * slow
    first, gap = (value * slow for value in PACE[model])
    first += prompt * 0.03
    ran = completion > 0
    spent = first + gap * completion if ran else 0.0
    ended = at + timedelta(milliseconds=queue + spent)
    return UsageEvent(
        request_id=request_id(at, dice),
        tenant_id=caller.tenant_id,
        application_id=caller.application_id,
        credential_id=caller.credential_id,
        model=model,
        service_id=caller.service_ids.get(model),
        traffic_class=traffic_class,
        outcome=outcome,
        reason=reason,
        modifiers=("rerouted",) if outcome is Outcome.REROUTED else (),
        stream=traffic_class is not TrafficClass.BATCH,
        http_status=status,
        finish_reason="stop" if outcome in ANSWERED else "",
        usage_quality=UsageQuality.FINAL if ran else UsageQuality.NONE,
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        started_at=_micros(at),
        finished_at=_micros(ended),
        queue_ms=round(queue, 2),
        ttft_ms=round(queue + first, 2) if ran else None,
        itl_ms=round(gap, 3) if ran else None,
        itl_p95_ms=round(gap * 1.6, 3) if ran else None,
        gpu_ms=round(spent),
        worker="history",
        demo=True,
    )


def _outcome(dice: random.Random) -> tuple[Outcome, str, int]:
    draw = dice.random()
    for share, outcome, reason, status in TROUBLE:
        if draw < share:
            return outcome, reason, status
        draw -= share
    return Outcome.SERVED, "", 200


def _tokens(
    traffic_class: TrafficClass, outcome: Outcome, dice: random.Random
) -> tuple[int, int, int]:
    """Draw in every case, so that one outcome more or less does not shift all that follows."""
    median_prompt, median_answer, usually_cached = LENGTHS[traffic_class.value]
    prompt = max(8, int(dice.lognormvariate(0, 0.6) * median_prompt))
    cached = int(prompt * min(0.9, dice.random() * 2 * usually_cached)) // 16 * 16
    completion = max(1, int(dice.lognormvariate(0, 0.5) * median_answer))
    if outcome is Outcome.CANCELLED:
        return prompt, cached, max(1, completion // 3)
    return (prompt, cached, completion) if outcome in ANSWERED else (0, 0, 0)


def request_id(at: datetime, dice: random.Random) -> str:
    """A UUIDv7 whose random part comes from the dice."""
    rest = int.from_bytes(hashlib.sha256(dice.randbytes(16)).digest()[:10])
    number = (_micros(at) // 1000) << 80 | rest
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def days_before(end: datetime) -> list[datetime]:
    """The UTC days of the history, the latest first: what people look at comes first."""
    last = end.replace(hour=0, minute=0, second=0, microsecond=0)
    return [last - timedelta(days=back) for back in range(DAYS)]


def _micros(at: datetime) -> int:
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
