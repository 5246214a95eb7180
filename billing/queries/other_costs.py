"""What the fleet costs besides GPUs: the lines that were recorded, and who bears them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import QuerySet

from billing.models import OtherCost
from billing.rules.meters import BILLED
from billing.rules.other_costs import HOSTED, PLATFORM, Line, Spread, spans_of, spread
from tenants.rules.access import Permission, Viewer

ZERO = Decimal(0)
TOKENS = """
SELECT model, tenant_id, sum(prompt_tokens + completion_tokens)::bigint FROM usage_hour
WHERE hour = ANY(%s) AND model = ANY(%s) AND outcome = ANY(%s) GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class OtherCosts:
    """Of the hours whose GPU cost is known: platform + hosted = tenants + unallocated, exactly."""

    platform: Decimal
    hosted: Decimal
    by_tenant: Mapping[int, Decimal]
    unallocated: Decimal
    otherwise: tuple[tuple[str, Decimal], ...]  # in other currencies: in no sum here

    @property
    def whole(self) -> Decimal:
        return self.platform + self.hosted


def list_other_costs(viewer: Viewer) -> QuerySet[OtherCost]:
    viewer.require(Permission.VIEW_MONEY)
    return OtherCost.objects.order_by("-starts_at", "-id")


def other_costs(
    hours: Sequence[datetime], currency: str, direct: Mapping[int, Decimal]
) -> OtherCosts:
    """`hours` in order; `direct` is what each tenant used GPUs for in them."""
    spans = spans_of(hours)
    sums: dict[str, Decimal] = {PLATFORM: ZERO, HOSTED: ZERO}
    elsewhere: dict[str, Decimal] = defaultdict(Decimal)
    mine: list[tuple[Line, Decimal]] = []
    for line in _lines(spans[0][0], spans[-1][1]) if spans else ():
        if part := line.part(spans):
            if line.currency == currency:
                sums[line.kind] += part
                mine.append((line, part))
            else:
                elsewhere[line.currency] += part
    found: Spread = spread(mine, direct, _tokens(hours, {line.model for line, _ in mine}))
    return OtherCosts(
        platform=sums[PLATFORM],
        hosted=sums[HOSTED],
        by_tenant=found.by_tenant,
        unallocated=found.unallocated,
        otherwise=tuple(sorted(elsewhere.items())),
    )


def _lines(start: datetime, end: datetime) -> Iterable[Line]:
    rows = OtherCost.objects.filter(starts_at__lt=end, ends_at__gt=start).order_by("id")
    names = ("starts_at", "ends_at", "kind", "name", "model", "currency", "amount")
    return (Line(*values) for values in rows.values_list(*names))


def _tokens(hours: Sequence[datetime], models: set[str]) -> Mapping[str, Mapping[int, int]]:
    """That are paid for, by service and tenant."""
    found: dict[str, dict[int, int]] = defaultdict(dict)
    wanted = sorted(models - {""})
    if wanted:
        with connection.cursor() as cursor:
            cursor.execute(TOKENS, [list(hours), wanted, sorted(BILLED)])
            for model, tenant_id, tokens in cursor.fetchall():
                found[model][tenant_id] = tokens
    return found
