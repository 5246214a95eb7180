"""Price books: draft a version, publish it; what gateways hold money by follows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import Max, Q
from django.db.models.functions import Now

from billing.models import GpuPrice, GpuPriceSheet, Price, PriceBook, PriceBookVersion
from billing.rules.meters import Meter
from billing.rules.prices import (
    CURRENCIES,
    LARGEST,
    PriceLine,
    fault_of_start,
    faults_of_prices,
)
from tenants.actions.audit import record
from tenants.actions.prices import PublishedPrice, publish_prices
from tenants.errors import Conflict, Invalid, NotFound
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

PICO = 10**12  # a price for one token with 12 decimals is a whole number of micro-units a million
CUT = """
UPDATE price_book_version SET effective = effective * tstzrange(NULL, %s)
WHERE book_id = %s AND published_at IS NOT NULL AND NOT isempty(effective)
    AND coalesce(upper(effective), 'infinity') > %s
"""


@transaction.atomic
def create_book(viewer: Viewer, *, slug: str, name: str, currency: str) -> PriceBook:
    """Open the one book of a currency."""
    viewer.require(Permission.MANAGE_MONEY)
    if currency not in CURRENCIES:
        raise Invalid(currency=f"{currency!r} is not a currency of this console")
    taken = PriceBook.objects.filter(Q(currency=currency) | Q(slug=slug)).first()
    if taken is not None:
        raise Conflict(f"The book {taken.slug} has this name or currency ({taken.currency})")
    book = PriceBook.objects.create(slug=slug, name=name, currency=currency)
    record(viewer, "price_book.create", book, after=book)
    return book


@transaction.atomic
def draft_version(
    viewer: Viewer,
    book_slug: str,
    *,
    prices: Sequence[PriceLine],
    why: str = "",
    expected: int | None = None,
) -> PriceBookVersion:
    """Write down a complete new set of prices, which holds for nothing until it is published."""
    viewer.require(Permission.MANAGE_MONEY)
    if faults := faults_of_prices(prices):
        raise Invalid(**faults)
    book = find_book(book_slug).change(expected)
    number = book.versions.aggregate(n=Max("number"))["n"] or 0
    version = PriceBookVersion.objects.create(
        book=book, number=number + 1, why=why, created_by=viewer.email
    )
    Price.objects.bulk_create(
        Price(
            book_version=version,
            model=line.model,
            meter=line.meter,
            traffic_class=line.traffic_class,
            unit_price=line.unit_price,
        )
        for line in prices
    )
    record(viewer, "price_book.draft", version, after=_facts(version, prices), why=why)
    return version


@transaction.atomic
def publish_version(
    viewer: Viewer,
    book_slug: str,
    number: int,
    *,
    starts_at: datetime,
    now: datetime,
    why: str = "",
    expected: int | None = None,
) -> PriceBookVersion:
    """Let a draft hold from `starts_at`, in place of every version that would hold then.

    Hours that were rated at other prices are rated again: reversals and corrected rows.
    """
    viewer.require(Permission.MANAGE_MONEY)
    if fault := fault_of_start(starts_at, now=now, why=why):
        raise Invalid(starts_at=fault)
    book = find_book(book_slug).change(expected)
    version = PriceBookVersion.objects.filter(book=book, number=number).first()
    if version is None:
        raise NotFound(f"The book {book_slug} has no version {number}")
    if version.published_at is not None:
        raise Conflict(f"Version {number} was published before; draft a new one to change prices")
    with connection.cursor() as cursor:
        cursor.execute(CUT, [starts_at, book.pk, starts_at])
    PriceBookVersion.objects.filter(pk=version.pk).update(
        published_at=Now(), published_by=viewer.email, effective=(starts_at, None)
    )
    version.refresh_from_db()
    after = {"number": number, "starts_at": starts_at.isoformat()}
    record(viewer, "price_book.publish", version, after=after, why=why)
    if starts_at <= now:
        tell_gateways(viewer, now)
    nudge("billing.tasks.rate")
    return version


def tell_gateways(viewer: Viewer, now: datetime) -> None:
    """Give gateways the prices that hold now, from the oldest book: holds are estimates."""
    version = PriceBookVersion.objects.filter(effective__contains=now).order_by("book_id").first()
    if version is not None:
        publish_prices(viewer, gateway_prices(version))


def gateway_prices(version: PriceBookVersion) -> dict[str, PublishedPrice]:
    """Prices for every class; gateways hold by these, the ledger rates by class."""
    by_model: dict[str, dict[str, int]] = {}
    rows = version.prices.filter(traffic_class="")
    for model, meter, unit_price in rows.values_list("model", "meter", "unit_price"):
        by_model.setdefault(model, {})[meter] = int(unit_price * PICO)
    return {
        model: PublishedPrice(
            version=version.number,
            prompt=found[Meter.PROMPT],
            cached=found[Meter.CACHED],
            completion=found[Meter.COMPLETION],
        )
        for model, found in by_model.items()
    }


@transaction.atomic
def set_gpu_prices(
    viewer: Viewer,
    *,
    currency: str,
    hourly: Mapping[str, Decimal],
    starts_at: datetime,
    now: datetime,
    why: str = "",
) -> GpuPriceSheet:
    """Say what an hour of each GPU product costs us from `starts_at` on. Complete, not a change."""
    viewer.require(Permission.MANAGE_MONEY)
    if faults := _faults_of_costs(currency, hourly):
        raise Invalid(**faults)
    if fault := fault_of_start(starts_at, now=now, why=why):
        raise Invalid(starts_at=fault)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE gpu_price_sheet SET effective = effective * tstzrange(NULL, %s)"
            " WHERE NOT isempty(effective)",
            [starts_at],
        )
    number = GpuPriceSheet.objects.aggregate(n=Max("number"))["n"] or 0
    sheet = GpuPriceSheet.objects.create(
        number=number + 1,
        currency=currency,
        why=why,
        created_by=viewer.email,
        effective=(starts_at, None),
    )
    GpuPrice.objects.bulk_create(
        GpuPrice(sheet=sheet, product=product, hourly=price)
        for product, price in sorted(hourly.items())
    )
    after = {p: str(v) for p, v in hourly.items()} | {"starts_at": starts_at.isoformat()}
    record(viewer, "gpu_price.set", sheet, after=after, why=why)
    nudge("billing.tasks.allocate")
    return sheet


def find_book(slug: str) -> PriceBook:
    book = PriceBook.objects.select_for_update(no_key=True).filter(slug=slug).first()
    if book is None:
        raise NotFound(f"There is no price book {slug}")
    return book


def _faults_of_costs(currency: str, hourly: Mapping[str, Decimal]) -> dict[str, str]:
    faults = {}
    if currency not in CURRENCIES:
        faults["currency"] = f"{currency!r} is not a currency of this console"
    if not hourly:
        faults["hourly"] = "Give the price of at least one GPU product"
    for product, price in hourly.items():
        if not product or len(product) > 120 or not price.is_finite() or not 0 <= price <= LARGEST:
            faults["hourly"] = f"The price of {product!r} is not between 0 and {LARGEST:,}"
    return faults


def _facts(version: PriceBookVersion, prices: Sequence[PriceLine]) -> dict[str, object]:
    lines = {f"{p.model} {p.meter} {p.traffic_class}".strip(): str(p.price) for p in prices}
    return {"number": version.number, "prices": lines}
