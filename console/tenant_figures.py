"""What lists of tenants show from other areas: health, traffic of a day, money of the month."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing.queries.money import month_amounts
from fleet.queries.degradation import list_degradation
from tenants.rules.access import Permission, Viewer

DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one tenant. `charged` is None where the viewer may not see money."""

    requests: int = 0
    answered: int = 0
    findings: int = 0
    sentence: str = ""  # the likely cause of the first open finding
    charged: Decimal | None = None

    @property
    def health(self) -> str:
        if self.findings:
            return "degraded"
        return "healthy" if self.requests else "idle"

    @property
    def answered_share(self) -> float | None:
        return self.answered / self.requests if self.requests else None


def figures_by_tenant(
    viewer: Viewer, now: datetime, tenant_ids: tuple[int, ...] | None = None
) -> dict[int, Figures]:
    """Of the given tenants, or of all that the scope shows: in few questions, however many."""
    rows = list_degradation(viewer, now - DAY, now, now=now, tenant_ids=tenant_ids)
    hurt = {row.tenant_id: row for row in rows}
    money = amounts(viewer, now, tenant_ids)
    found = {}
    for pk in hurt.keys() | money.keys():
        row = hurt.get(pk)
        found[pk] = Figures(
            requests=row.requests if row else 0,
            answered=row.answered if row else 0,
            findings=len(row.findings) if row else 0,
            sentence=row.findings[0].sentence if row and row.findings else "",
            charged=money.get(pk),
        )
    return found


def amounts(
    viewer: Viewer, now: datetime, tenant_ids: tuple[int, ...] | None
) -> Mapping[int, Decimal]:
    if not viewer.may_somewhere(Permission.VIEW_MONEY):
        return {}
    return month_amounts(viewer, now=now, tenant_ids=tenant_ids)
