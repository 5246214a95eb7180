"""Prices as the rating needs them."""

from collections import defaultdict
from collections.abc import Iterable

from billing.models import Price, PriceBookVersion
from billing.queries.calendars import read_calendars
from billing.rules.prices.kinds import read_terms
from billing.rules.prices.lines import PriceLine
from billing.rules.prices.terms import Kind, Terms
from billing.rules.tariffs import BookVersion, Priced, Tariff, version_of
from tenants.queries.directory import TenantRef

Versions = list[BookVersion]


def read_books() -> dict[str, Versions]:
    """Published list prices that hold at some time, by currency, oldest first."""
    return {v[0].currency: v for (tenant_id, _), v in _read().items() if tenant_id is None}


def read_tariffs(tenants: Iterable[TenantRef]) -> dict[int, Tariff]:
    """What each tenant pays by: its contract, then the list of its currency."""
    found, refs = _read(), list(tenants)
    calendars = read_calendars(refs)
    return {
        t.id: Tariff(
            found.get((None, t.currency), []), found.get((t.id, t.currency), []), calendars[t.id]
        )
        for t in refs
    }


def read_contract(tenant: TenantRef) -> Versions:
    """What was agreed with it alone, without the lists and the contracts of all others."""
    found = _read(book__tenant_id=tenant.id)
    return found.get((tenant.id, tenant.currency), [])


def _read(**wanted: int) -> dict[tuple[int | None, str], Versions]:
    # Whole before their prices are read: of one that is published in between, none would be seen,
    # and all that it holds for would be without a price.
    versions = list(
        PriceBookVersion.objects.filter(
            published_at__isnull=False, effective__isempty=False, **wanted
        )
        .select_related("book")
        .order_by("book_id", "number")
    )
    lines: dict[int, dict[tuple[Priced, bool], Terms]] = defaultdict(dict)
    for price in Price.objects.filter(book_version__in=versions).order_by("id"):
        name = (price.model, price.meter, price.traffic_class, price.runs_on)
        lines[price.book_version_id][name, price.kind == Kind.FACTOR] = terms_of(price)
    found: dict[tuple[int | None, str], Versions] = defaultdict(list)
    for v in versions:
        span = (v.effective.lower, v.effective.upper)
        made = version_of(v.pk, v.book.currency, span, lines[v.pk])
        found[v.book.tenant_id, v.book.currency].append(made)
    return dict(found)


def terms_of(price: Price) -> Terms:
    if price.unit_price is not None:
        return Terms(Kind.UNIT, price.unit_price)
    return read_terms(price.terms)


def lines_of(version: PriceBookVersion) -> list[PriceLine]:
    """The prices of one version, as they were written down."""
    return [
        PriceLine(p.model, p.meter, terms_of(p), p.traffic_class, p.runs_on)
        for p in version.prices.order_by("id")
    ]
