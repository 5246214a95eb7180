"""What a request and a million tokens of each release cost, and were charged for.

As by tenant and by service: of the hours whose cost is known, of what is paid for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from billing.queries.attributed import Attributed
from billing.queries.by_release import Of
from billing.queries.economics import read_costs
from billing.queries.other_costs import other_costs
from billing.queries.release_margins import release_margins
from billing.queries.unit_costs import UnitCost, UnitCosts
from billing.rules.allocation import spread_over
from billing.rules.meters import BILLED
from tenants.rules.access import Viewer

RELEASE = "release"
ZERO = Decimal(0)
USED = """
SELECT model, release, sum(requests)::bigint, sum(prompt_tokens + completion_tokens)::bigint
FROM usage_hour WHERE hour >= %s AND hour < %s AND hour = ANY(%s) AND outcome = ANY(%s)
GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class ReleaseUnitCost(UnitCost):
    """`name` is the service. Empty release: fees, or usage whose release is not known."""

    release: str = ""


def release_unit_costs(viewer: Viewer, start: datetime, end: datetime) -> UnitCosts:
    """The whole fleet's, for whole UTC days that touch [start, end)."""
    found = release_margins(viewer, start, end)
    known, direct = found.known, {(m.model, m.release): m.cost for m in found.rows}
    costs = read_costs(known.first, known.last, known.currency)
    idle = spread_over(costs.by_kind["idle"], direct)
    overhead = spread_over(costs.by_kind["overhead"], direct)
    used = _used(known)
    rows = [
        ReleaseUnitCost(
            m.model,
            *used.get(key, (0, 0)),
            charged=m.charged,
            cost=m.cost,
            full=m.cost + idle.get(key, ZERO) + overhead.get(key, ZERO) + m.other,
            other=m.other,
            release=m.release,
        )
        for key, m in zip(direct, found.rows, strict=True)
    ]
    rows.sort(key=lambda row: (-row.full, row.name, row.release))
    other = other_costs(known.hours, known.currency, costs.by_tenant, costs.by_model).whole
    return UnitCosts(
        start=known.start,
        end=known.end,
        currency=known.currency,
        method=known.method,
        hours_attributed=len(known.hours),
        rows=tuple(rows),
        whole=UnitCost(
            "",
            sum(row.requests for row in rows),
            sum(row.tokens for row in rows),
            found.whole.charged,
            found.whole.cost,
            sum(costs.by_kind.values(), ZERO) + other,
            other,
        ),
    )


def _used(known: Attributed) -> Mapping[Of, tuple[int, int]]:
    """Requests and tokens that are paid for."""
    given: list[Any] = [known.start, known.end, list(known.hours), sorted(BILLED)]
    with connection.cursor() as cursor:
        cursor.execute(USED, given)
        return {(model, release): (n, tokens) for model, release, n, tokens in cursor.fetchall()}
