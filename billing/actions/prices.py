"""Price books: open one, draft a version, edit the draft. `publication` makes it hold."""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Max, Q

from billing.models import Price, PriceBook, PriceBookVersion
from billing.queries.books import lines_of
from billing.rules.prices import (
    CURRENCIES,
    PriceLine,
    faults_of_prices,
    said_place,
)
from billing.rules.prices.bounds import faults_of_factors
from billing.rules.prices.kinds import say_terms
from billing.rules.prices.terms import Kind
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.rules.access import Permission, Viewer


@transaction.atomic
def create_book(viewer: Viewer, *, slug: str, name: str, currency: str) -> PriceBook:
    """Open the one book of a currency."""
    viewer.require(Permission.MANAGE_MONEY)
    if currency not in CURRENCIES:
        raise Invalid(currency=f"{currency!r} is not a currency of this console")
    same = Q(currency=currency, tenant_id=None) | Q(slug=slug)
    taken = PriceBook.objects.filter(same).first()
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
    book = find_book(book_slug)
    _refuse(prices, book)
    book.change(expected)
    number = book.versions.aggregate(n=Max("number"))["n"] or 0
    version = PriceBookVersion.objects.create(
        book=book, number=number + 1, why=why, created_by=viewer.email
    )
    _write(version, prices)
    record(viewer, "price_book.draft", version, after=facts(version, prices), why=why)
    return version


@transaction.atomic
def edit_draft(
    viewer: Viewer,
    book_slug: str,
    number: int,
    *,
    prices: Sequence[PriceLine],
    why: str = "",
    expected: int | None = None,
) -> PriceBookVersion:
    """Write a draft anew. What waits for approval stays as it is: that was shown."""
    viewer.require(Permission.MANAGE_MONEY)
    book = find_book(book_slug)
    version = find_draft(book, number)
    if version.change_id is not None:
        raise Conflict(f"Version {number} waits for approval: withdraw the proposal to edit it")
    _refuse(prices, book)
    book.change(expected)
    before = facts(version, lines_of(version))
    version.prices.all().delete()
    _write(version, prices)
    PriceBookVersion.objects.filter(pk=version.pk).update(why=why)
    version.refresh_from_db()
    record(viewer, "price_book.edit", version, before=before, after=facts(version, prices), why=why)
    return version


def _refuse(prices: Sequence[PriceLine], book: PriceBook) -> None:
    contract = book.tenant_id is not None
    faults = faults_of_prices(prices, contract=contract)
    if faults := faults or faults_of_factors(prices, contract=contract):
        raise Invalid(**faults)


def find_draft(book: PriceBook, number: int) -> PriceBookVersion:
    version = PriceBookVersion.objects.filter(book=book, number=number).first()
    if version is None:
        raise NotFound(f"The book {book.slug} has no version {number}")
    if version.published_at is not None:
        raise Conflict(f"Version {number} was published before; draft a new one to change prices")
    return version


def _write(version: PriceBookVersion, prices: Sequence[PriceLine]) -> None:
    Price.objects.bulk_create(
        Price(
            book_version=version,
            model=line.model,
            meter=line.meter,
            traffic_class=line.traffic_class,
            runs_on=line.runs_on,
            kind=line.terms.kind.value,
            unit_price=line.terms.unit_price if line.terms.kind == Kind.UNIT else None,
            terms="" if line.terms.kind == Kind.UNIT else say_terms(line.terms),
        )
        for line in prices
    )


def find_book(slug: str) -> PriceBook:
    book = PriceBook.objects.select_for_update(no_key=True).filter(slug=slug).first()
    if book is None:
        raise NotFound(f"There is no price book {slug}")
    return book


def facts(version: PriceBookVersion, prices: Sequence[PriceLine]) -> dict[str, object]:
    lines = {
        " ".join(filter(None, (p.model, p.meter, p.traffic_class, said_place(p)))): p.text
        for p in prices
    }
    return {"number": version.number, "prices": lines}
