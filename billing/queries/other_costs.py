"""What the fleet costs besides GPUs: the lines that were recorded, and who bears them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import QuerySet

from billing.models import OtherCost
from billing.rules.meters import BILLED
from billing.rules.other_costs import HOSTED, PLATFORM, Line, Span, Spread, spans_of, spread
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


@dataclass(frozen=True, slots=True)
class OtherPart:
    """What one line comes to in the hours, and who bears it by which weights."""

    id: int
    line: Line
    spans: Sequence[Span]  # of the line in the hours
    amount: Decimal
    spread: Spread
    weights: Mapping[int, Decimal]  # tokens, or what GPUs were used for
    by_tokens: bool


def other_parts(hours: Sequence[datetime], direct: Mapping[int, Decimal]) -> Iterator[OtherPart]:
    """Line by line, of every currency, what `other_costs` has as sums."""
    spans = spans_of(hours)
    lines = list(_numbered(spans[0][0], spans[-1][1])) if spans else []
    tokens = _tokens(hours, {line.model for _, line in lines})
    for pk, line in lines:
        amount = line.part(spans)
        if not amount:
            continue
        weights = tokens.get(line.model, {}) if line.model else direct
        yield OtherPart(
            id=pk,
            line=line,
            spans=line.inside(spans),
            amount=amount,
            spread=spread([(line, amount)], direct, tokens),
            weights={tenant: Decimal(weight) for tenant, weight in weights.items()},
            by_tokens=bool(line.model),
        )


def _lines(start: datetime, end: datetime) -> Iterable[Line]:
    return (line for _, line in _numbered(start, end))


def _numbered(start: datetime, end: datetime) -> Iterator[tuple[int, Line]]:
    rows = OtherCost.objects.filter(starts_at__lt=end, ends_at__gt=start).order_by("id")
    names = ("id", "starts_at", "ends_at", "kind", "name", "model", "currency", "amount")
    for pk, *values in rows.values_list(*names):
        yield pk, Line(*values)


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
