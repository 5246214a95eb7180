"""Meters: what is counted of a request, in which unit, and whether its outcome is paid for."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from gateway.contract.outcomes import Outcome

MILLI = Decimal("0.001")
HOSTED = "hosted"  # in a price: whichever hosted provider answers


class Meter(StrEnum):
    PROMPT = "prompt"  # without the cached part
    CACHED = "cached"
    COMPLETION = "completion"
    REQUEST = "request"
    GPU_SECOND = "gpu_second"
    KEPT_PREFIX = "kept_prefix"  # what a store of prefixes holds for a tenant, over time
    FEE = "fee"  # owed for a month, by contract
    COMMITMENT = "commitment"  # what is missing to a month's minimum


@dataclass(frozen=True, slots=True)
class Sale:
    """How a meter is shown and sold."""

    label: str
    unit: str  # FOCUS spelling: what one whole unit price is for
    per: int  # people speak of prices per so many units
    per_label: str


SALES = {
    Meter.PROMPT: Sale("Prompt tokens", "Tokens", 1_000_000, "per million tokens"),
    Meter.CACHED: Sale("Cached prompt tokens", "Tokens", 1_000_000, "per million tokens"),
    Meter.COMPLETION: Sale("Completion tokens", "Tokens", 1_000_000, "per million tokens"),
    Meter.REQUEST: Sale("Requests", "Requests", 1_000, "per 1,000 requests"),
    Meter.GPU_SECOND: Sale("GPU time", "GPU-Seconds", 1, "per GPU-second"),
    Meter.KEPT_PREFIX: Sale("Kept prefixes", "GiB-Hours", 1, "per GiB-hour"),
    Meter.FEE: Sale("Monthly fee", "Months", 1, "a month"),
    Meter.COMMITMENT: Sale("Minimum commitment", "Months", 1, "a month"),
}
BY_REQUEST = (Meter.PROMPT, Meter.CACHED, Meter.COMPLETION, Meter.REQUEST, Meter.GPU_SECOND)
BY_USE = (*BY_REQUEST, Meter.KEPT_PREFIX)
# A meter of this list without a price makes usage "unpriced"; the others are sold on demand.
TOKENS = (Meter.PROMPT, Meter.CACHED, Meter.COMPLETION)

# What tenants pay for: answers, and what was computed until they left. What failed or took too
# long is the operator's fault: its price is zero on purpose. The rest never reached an engine.
BILLED = frozenset({Outcome.SERVED, Outcome.REROUTED, Outcome.DEGRADED, Outcome.CANCELLED})


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums of one hour, as the roll-up has them."""

    hour: datetime
    tenant_id: int
    application_id: int
    model: str
    traffic_class: str
    outcome: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    gpu_ms: int  # of GPUs: time x how many
    hosted: str = ""  # the provider that answered; empty: the fleet's own engines
    gpu_product: str = ""  # empty: not known
    kept_gib_hours: Decimal = Decimal(0)  # of prefixes; of no request, so without a class


def quantities(usage: Usage) -> dict[Meter, Decimal]:
    """What is paid for, by meter. Exact: whole units, GPU time to the millisecond, kept prefixes
    to the millionth of a GiB-hour.

    A hosted provider's GPUs are none of ours to sell by the second.
    """
    if usage.outcome not in BILLED:
        return {}
    return {
        Meter.PROMPT: Decimal(usage.prompt_tokens - usage.cached_tokens),
        Meter.CACHED: Decimal(usage.cached_tokens),
        Meter.COMPLETION: Decimal(usage.completion_tokens),
        Meter.REQUEST: Decimal(usage.requests),
        Meter.GPU_SECOND: Decimal(0) if usage.hosted else usage.gpu_ms * MILLI,
        Meter.KEPT_PREFIX: usage.kept_gib_hours,
    }


def runs_on(usage: Usage, meter: Meter) -> str:
    """What a price may name besides service, meter and class."""
    return usage.gpu_product if meter == Meter.GPU_SECOND else usage.hosted


def names_of(meter: str, runs_on: str) -> tuple[str, ...]:
    """By which a price of it is looked for, the most exact first.

    GPU time has a price for all products; what a hosted provider answers has one for all
    providers, and never that of the fleet's own engines.
    """
    other = "" if meter == Meter.GPU_SECOND else HOSTED
    return (runs_on, other) if runs_on else ("",)
