"""What a request and a million tokens cost us, by tenant or by service.

Of the hours whose cost is known, as on the page of economics. Counted is what is paid for; what
failed has used GPUs too, so its cost is borne by what was answered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from billing.queries.attributed import attributed
from billing.queries.charged import ChargeFilter
from billing.queries.economics import Margin, margins, read_costs, read_revenue
from billing.queries.other_costs import other_costs
from billing.rules.days import whole_days
from billing.rules.meters import BILLED
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer

TENANT, SERVICE = "tenant", "service"
ZERO = Decimal(0)
THOUSAND, MILLION = 1_000, 1_000_000
# Only by what is asked for: both keys at once would be thousands of sums. Whole days are read as
# days, what is left of others by the hour.
USED = """
SELECT {key}, sum(requests)::bigint, sum(prompt_tokens + completion_tokens)::bigint FROM (
    SELECT tenant_id, model, requests, prompt_tokens, completion_tokens
    FROM usage_model_day WHERE day = ANY(%(days)s) AND outcome = ANY(%(billed)s)
    UNION ALL
    SELECT tenant_id, model, requests, prompt_tokens, completion_tokens
    FROM usage_hour WHERE hour = ANY(%(hours)s) AND outcome = ANY(%(billed)s)
) AS used GROUP BY 1
"""
USED_BY = {TENANT: USED.format(key="tenant_id"), SERVICE: USED.format(key="model")}


@dataclass(frozen=True, slots=True)
class UnitCost:
    """Cost is direct; `full` adds the share of idle and overhead, by direct cost, and `other`: of
    the platform and of hosted providers' bills. What of these is nobody's is in the whole alone."""

    name: str
    requests: int
    tokens: int
    charged: Decimal
    cost: Decimal
    full: Decimal
    other: Decimal

    @property
    def per_request(self) -> Decimal | None:
        """None: nothing was answered, so there is no price of one."""
        return self.cost / self.requests if self.requests else None

    @property
    def full_per_request(self) -> Decimal | None:
        return self.full / self.requests if self.requests else None

    @property
    def full_per_thousand(self) -> Decimal | None:
        each = self.full_per_request
        return None if each is None else each * THOUSAND

    @property
    def per_million(self) -> Decimal | None:
        return self.cost * MILLION / self.tokens if self.tokens else None

    @property
    def full_per_million(self) -> Decimal | None:
        return self.full * MILLION / self.tokens if self.tokens else None

    @property
    def charged_per_million(self) -> Decimal | None:
        return self.charged * MILLION / self.tokens if self.tokens else None


@dataclass(frozen=True, slots=True)
class UnitCosts:
    start: datetime
    end: datetime
    currency: str
    method: str
    hours_attributed: int
    rows: tuple[UnitCost, ...]  # the dearest first
    whole: UnitCost


def unit_costs(viewer: Viewer, start: datetime, end: datetime, *, by: str) -> UnitCosts:
    """The whole fleet's, for whole UTC days that touch [start, end)."""
    viewer.require(Permission.VIEW_MONEY)
    known = attributed(start, end)
    tenants = tenant_refs() if by == TENANT else None
    costs = read_costs(known.first, known.last, known.currency)
    revenue = read_revenue(known.hours, known.currency)
    other = other_costs(known.hours, known.currency, costs.by_tenant, costs.by_model)
    borne: Mapping[Any, Decimal] = other.by_tenant if by == TENANT else other.by_model
    found = margins(costs, revenue, ChargeFilter(known.start, known.end), tenants, borne)
    used = used_by(by, known.hours)
    rows = [_row(m, *used.get(m.key, (0, 0))) for m in found]
    return UnitCosts(
        start=known.start,
        end=known.end,
        currency=known.currency,
        method=known.method,
        hours_attributed=len(known.hours),
        rows=tuple(sorted(rows, key=lambda row: (-row.full, row.name))),
        whole=UnitCost(
            "",
            sum(row.requests for row in rows),
            sum(row.tokens for row in rows),
            sum((row.charged for row in rows), ZERO),
            sum((row.cost for row in rows), ZERO),
            sum(costs.by_kind.values(), ZERO) + other.whole,
            other.whole,
        ),
    )


def used_by(by: str, hours: Sequence[datetime]) -> dict[str, tuple[int, int]]:
    """Requests and tokens that are paid for, by the keys of margins."""
    days, left = whole_days(hours)
    of: dict[str, Any] = {"days": days, "hours": left, "billed": sorted(BILLED)}
    with connection.cursor() as cursor:
        cursor.execute(USED_BY[by], of)
        return {str(key): (requests, tokens) for key, requests, tokens in cursor.fetchall()}


def _row(margin: Margin, requests: int, tokens: int) -> UnitCost:
    return UnitCost(
        margin.name,
        requests,
        tokens,
        margin.charged,
        margin.cost,
        margin.cost + margin.idle_share + margin.overhead_share + margin.other,
        margin.other,
    )
