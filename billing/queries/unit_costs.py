"""What a request and a million tokens cost us, by tenant or by service.

Of the hours whose cost is known, as on the page of economics. Counted is what is paid for; what
failed has used GPUs too, so its cost is borne by what was answered.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection

from billing.models import AllocationRun
from billing.queries.charged import ChargeFilter
from billing.queries.economics import Margin, margins, midnight, read_costs, read_revenue
from billing.rules.meters import BILLED
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer

TENANT, SERVICE = "tenant", "service"
ZERO = Decimal(0)
THOUSAND, MILLION = 1_000, 1_000_000
USED = """
SELECT tenant_id, model, sum(requests)::bigint, sum(prompt_tokens + completion_tokens)::bigint
FROM usage_hour WHERE hour = ANY(%s) AND outcome = ANY(%s) GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class UnitCost:
    """Cost is direct; `full` adds the share of idle and overhead, by direct cost."""

    name: str
    requests: int
    tokens: int
    charged: Decimal
    cost: Decimal
    full: Decimal

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
    first = start.date()
    last = (end - timedelta(microseconds=1)).date() + timedelta(days=1)
    begin, stop = midnight(first, start), midnight(last, start)
    runs = AllocationRun.objects.filter(is_current=True, hour__gte=begin, hour__lt=stop)
    newest = runs.order_by("-hour").first()
    currency = newest.currency if newest else ""
    hours = sorted(runs.filter(currency=currency).values_list("hour", flat=True))
    tenants = tenant_refs() if by == TENANT else None
    costs = read_costs(first, last, currency)
    found = margins(costs, read_revenue(hours, currency), ChargeFilter(begin, stop), tenants)
    used = _used(hours, by)
    rows = [_row(m, *used.get(m.key, (0, 0))) for m in found]
    return UnitCosts(
        start=begin,
        end=stop,
        currency=currency,
        method=newest.method if newest else "",
        hours_attributed=len(hours),
        rows=tuple(sorted(rows, key=lambda row: (-row.full, row.name))),
        whole=UnitCost(
            "",
            sum(row.requests for row in rows),
            sum(row.tokens for row in rows),
            sum((row.charged for row in rows), ZERO),
            sum((row.cost for row in rows), ZERO),
            sum(costs.values(), ZERO),
        ),
    )


def _used(hours: list[datetime], by: str) -> Mapping[str, tuple[int, int]]:
    """Requests and tokens that are paid for, by the keys of margins."""
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    with connection.cursor() as cursor:
        cursor.execute(USED, [hours, sorted(BILLED)])
        for tenant_id, model, requests, tokens in cursor.fetchall():
            key = str(tenant_id) if by == TENANT else model
            found[key] = (found[key][0] + requests, found[key][1] + tokens)
    return found


def _row(margin: Margin, requests: int, tokens: int) -> UnitCost:
    return UnitCost(
        margin.name,
        requests,
        tokens,
        margin.charged,
        margin.cost,
        margin.cost + margin.idle_share + margin.overhead_share,
    )
