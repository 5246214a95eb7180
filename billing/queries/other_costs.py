"""What the fleet costs besides GPUs: the lines that were recorded, and who bears them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from billing.models import OtherCost
from billing.rules.days import whole_days
from billing.rules.meters import BILLED
from billing.rules.other_costs import (
    HOSTED,
    PLATFORM,
    Line,
    Span,
    Spread,
    borne_by,
    spans_of,
    spread,
    tokens_by,
)
from tenants.rules.access import Permission, Viewer

ZERO = Decimal(0)
TENANT, RELEASE = "tenant_id", "release"
# Of services that lines name, whoever answered; tenants have them by whole days too.
BY_HOUR = """
SELECT model, {who}, prompt_tokens + completion_tokens FROM usage_hour
WHERE hour = ANY(%(hours)s) AND outcome = ANY(%(billed)s) AND model = ANY(%(models)s)
"""
BY_DAY = """
SELECT model, tenant_id, prompt_tokens + completion_tokens FROM usage_model_day
WHERE day = ANY(%(days)s) AND outcome = ANY(%(billed)s) AND model = ANY(%(models)s)
"""
SUM = """
SELECT model, who, sum(tokens)::bigint FROM ({rows}) AS used (model, who, tokens) GROUP BY 1, 2
"""
OF_SERVICES = {
    TENANT: SUM.format(rows=f"{BY_DAY} UNION ALL {BY_HOUR.format(who=TENANT)}"),
    RELEASE: SUM.format(rows=BY_HOUR.format(who=RELEASE)),
}
# What they answered is little, and has an index of its own.
OF_PROVIDERS = """
SELECT model, hosted, {who}, sum(prompt_tokens + completion_tokens)::bigint FROM usage_hour
WHERE hour = ANY(%(hours)s) AND outcome = ANY(%(billed)s) AND hosted <> ''
    AND hosted = ANY(%(providers)s)
GROUP BY 1, 2, 3
"""
Of = tuple[str, str]  # a service and a release


@dataclass(frozen=True, slots=True)
class OtherCosts:
    """Of the hours whose GPU cost is known: platform + hosted = tenants + unallocated, exactly, and
    services add up to what tenants do."""

    platform: Decimal
    hosted: Decimal
    by_tenant: Mapping[int, Decimal]
    by_model: Mapping[str, Decimal]
    unallocated: Decimal
    otherwise: tuple[tuple[str, Decimal], ...]  # in other currencies: in no sum here

    @property
    def whole(self) -> Decimal:
        return self.platform + self.hosted


def list_other_costs(viewer: Viewer) -> QuerySet[OtherCost]:
    viewer.require(Permission.VIEW_MONEY)
    return OtherCost.objects.order_by("-starts_at", "-id")


def other_costs(
    hours: Sequence[datetime],
    currency: str,
    by_tenant: Mapping[int, Decimal],
    by_model: Mapping[str, Decimal],
) -> OtherCosts:
    """`hours` in order; what each tenant, and what each service, used GPUs for in them."""
    found = _found(hours, currency)
    services, providers = _tokens(hours, found.lines, TENANT)
    tenants = spread(found.lines, by_tenant, tokens_by(services, providers))
    of_models = tokens_by(
        ((model, model, tokens) for model, _, tokens in services),
        ((model, hosted, model, tokens) for model, hosted, _, tokens in providers),
    )
    return OtherCosts(
        platform=found.sums[PLATFORM],
        hosted=found.sums[HOSTED],
        by_tenant=tenants.parts,
        by_model=spread(found.lines, by_model, of_models).parts,
        unallocated=tenants.unallocated,
        otherwise=tuple(sorted(found.elsewhere.items())),
    )


def costs_of_releases(
    hours: Sequence[datetime], currency: str, direct: Mapping[Of, Decimal]
) -> Mapping[Of, Decimal]:
    """The same lines by service and release."""
    found = _found(hours, currency)
    services, providers = _tokens(hours, found.lines, RELEASE)
    of_releases = tokens_by(
        ((model, (model, of), tokens) for model, of, tokens in services),
        ((model, by, (model, of), tokens) for model, by, of, tokens in providers),
    )
    return spread(found.lines, direct, of_releases).parts


@dataclass(frozen=True, slots=True)
class Found:
    """Lines with what falls into the hours, sums by kind, and those in other currencies."""

    lines: Sequence[tuple[Line, Decimal]]
    sums: Mapping[str, Decimal]
    elsewhere: Mapping[str, Decimal]


def _found(hours: Sequence[datetime], currency: str) -> Found:
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
    return Found(mine, sums, elsewhere)


@dataclass(frozen=True, slots=True)
class OtherPart:
    """What one line comes to in the hours, and who bears it by which weights."""

    id: int
    line: Line
    spans: Sequence[Span]  # of the line in the hours
    amount: Decimal
    spread: Spread[int]
    weights: Mapping[int, Decimal]  # tokens, or what GPUs were used for
    by_tokens: bool


def other_parts(hours: Sequence[datetime], direct: Mapping[int, Decimal]) -> Iterator[OtherPart]:
    """Line by line, of every currency, what `other_costs` has as sums."""
    spans = spans_of(hours)
    lines = list(_numbered(spans[0][0], spans[-1][1])) if spans else []
    parts = [(pk, line, line.part(spans)) for pk, line in lines]
    tokens = tokens_by(*_tokens(hours, [(line, part) for _, line, part in parts], TENANT))
    for pk, line, amount in parts:
        if not amount:
            continue
        weights, by_tokens = borne_by(line, direct, tokens)
        yield OtherPart(
            id=pk,
            line=line,
            spans=line.inside(spans),
            amount=amount,
            spread=spread([(line, amount)], direct, tokens),
            weights=weights,
            by_tokens=by_tokens,
        )


def _lines(start: datetime, end: datetime) -> Iterable[Line]:
    return (line for _, line in _numbered(start, end))


def _numbered(start: datetime, end: datetime) -> Iterator[tuple[int, Line]]:
    rows = OtherCost.objects.filter(starts_at__lt=end, ends_at__gt=start).order_by("id")
    names = ("id", "starts_at", "ends_at", "kind", "name", "model", "currency", "amount")
    for pk, *values in rows.values_list(*names):
        yield pk, Line(*values)


def _tokens(
    hours: Sequence[datetime], lines: Iterable[tuple[Line, Decimal]], who: str
) -> tuple[Sequence[tuple[str, Any, int]], Sequence[tuple[str, str, Any, int]]]:
    """That are paid for, as `tokens_by` takes them."""
    scopes = {scope for line, _ in lines for scope in line.scopes}
    days, left = whole_days(hours)
    of: dict[str, Any] = {
        "days": days,
        "hours": left if who == TENANT else list(hours),
        "billed": sorted(BILLED),
        "models": sorted({model for _, model in scopes} - {""}),
        "providers": sorted({provider for provider, _ in scopes} - {""}),
    }
    with connection.cursor() as cursor:
        services: list[tuple[str, Any, int]] = []
        providers: list[tuple[str, str, Any, int]] = []
        if of["models"]:
            cursor.execute(OF_SERVICES[who], of)
            services = cursor.fetchall()
        if of["providers"]:
            cursor.execute(OF_PROVIDERS.format(who=who), of | {"hours": list(hours)})
            providers = cursor.fetchall()
        return services, providers
