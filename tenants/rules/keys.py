"""What an API key may carry: never more than its tenant."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.contract.outcomes import CLASS_RANK, TrafficClass
from tenants.rules.names import fault_of_name, faults

SCOPES = ("inference", "models")
CLASSES = tuple(c.value for c in TrafficClass)
LONGEST_LIFE = timedelta(days=3 * 365)
LONGEST_OVERLAP = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Wish:
    name: str
    scopes: tuple[str, ...]
    served_models: tuple[str, ...] | None  # None: all that the tenant was granted
    traffic_class: str
    expires_at: datetime | None  # None: until revoked


def faults_of_key(
    wish: Wish, *, ceiling: str, granted: Collection[str], now: datetime
) -> dict[str, str]:
    """Sentences by field. `ceiling` is the tenant's class, `granted` its models."""
    return faults(
        name=fault_of_name(wish.name),
        scopes=_fault_of_scopes(wish.scopes),
        models=_fault_of_models(wish.served_models, granted),
        traffic_class=fault_of_class(wish.traffic_class, ceiling),
        expires_at=_fault_of_expiry(wish.expires_at, now),
    )


def fault_of_class(wanted: str, ceiling: str) -> str:
    if wanted not in CLASSES:
        return f"One of {', '.join(CLASSES)}"
    if CLASS_RANK[TrafficClass(wanted)] < CLASS_RANK[TrafficClass(ceiling)]:
        return f"The tenant's class is {ceiling}: a key cannot be {wanted}"
    return ""


def fault_of_overlap(overlap: timedelta) -> str:
    if timedelta(0) <= overlap <= LONGEST_OVERLAP:
        return ""
    return f"The old key may live on for 0 hours to {LONGEST_OVERLAP.days} days"


def _fault_of_scopes(scopes: tuple[str, ...]) -> str:
    if not scopes:
        return "A key without a scope opens nothing: choose at least one"
    unknown = [s for s in scopes if s not in SCOPES]
    return f"{unknown[0]!r} is no scope: {', '.join(SCOPES)}" if unknown else ""


def _fault_of_models(models: tuple[str, ...] | None, granted: Collection[str]) -> str:
    if models is None:
        return ""
    if not models:
        return "Name at least one model, or leave the key open to all granted ones"
    missing = [m for m in models if m not in granted]
    return f"The tenant was not granted {missing[0]!r}: grant it first" if missing else ""


def _fault_of_expiry(expires_at: datetime | None, now: datetime) -> str:
    if expires_at is None:
        return ""
    if expires_at <= now:
        return "This is in the past"
    if expires_at > now + LONGEST_LIFE:
        return f"At most {LONGEST_LIFE.days} days from now; a key can be rotated"
    return ""
