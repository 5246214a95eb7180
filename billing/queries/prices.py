"""Price books, contracts and their versions, for people."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import QuerySet

from billing.models import Price, PriceBook, PriceBookVersion
from billing.queries.books import terms_of
from billing.queries.visibility import require_money
from billing.rules.meters import SALES, Meter
from billing.rules.prices.kinds import say_terms
from billing.rules.prices.lines import per_of
from tenants.errors import NotFound
from tenants.queries.changes import Decision, decision_of
from tenants.rules.access import Viewer


@dataclass(frozen=True, slots=True)
class PriceOut:
    """A price as people say it (`text` is `per`), and as it is charged (`unit_price`)."""

    model: str
    meter: str
    label: str
    traffic_class: str
    runs_on: str
    kind: str
    text: str
    price: Decimal | None  # of the kind unit
    per: str
    unit_price: Decimal | None

    @property
    def name(self) -> tuple[str, str, str, str, bool]:
        return (self.model, self.meter, self.traffic_class, self.runs_on, self.kind == "factor")


@dataclass(frozen=True, slots=True)
class VersionOut:
    number: int
    state: str  # draft, proposed, waiting, current, past, replaced
    starts_at: datetime | None
    ends_at: datetime | None
    created_at: datetime
    created_by: str
    published_at: datetime | None
    published_by: str
    why: str
    change_id: int | None
    prices: tuple[PriceOut, ...]


@dataclass(frozen=True, slots=True)
class BookOut:
    slug: str
    name: str
    currency: str
    tenant_id: int | None  # of a contract
    etag: str
    version: int  # for If-Match and forms
    versions: tuple[VersionOut, ...]  # newest first

    @property
    def current(self) -> VersionOut | None:
        return next((v for v in self.versions if v.state == "current"), None)

    def find(self, number: int) -> VersionOut:
        found = next((v for v in self.versions if v.number == number), None)
        if found is None:
            raise NotFound(f"The book {self.slug} has no version {number}")
        return found


@dataclass(frozen=True, slots=True)
class Difference:
    """One price in two versions; None where one of them has no such price."""

    price: PriceOut
    was: str | None
    will: str | None
    change: str  # same, new, gone, dearer, cheaper, other


def list_books(viewer: Viewer) -> QuerySet[PriceBook]:
    """The lists, and contracts as far as row level security shows them."""
    require_money(viewer)
    return PriceBook.objects.order_by("-id")


def find_book(viewer: Viewer, slug: str) -> PriceBook:
    book = list_books(viewer).filter(slug=slug).first()
    if book is None:
        raise NotFound(f"There is no price book {slug}")
    return book


def get_book(viewer: Viewer, slug: str, *, now: datetime) -> BookOut:
    """List prices are no secret among those who see money; drafts are with the fleet's people."""
    book = find_book(viewer, slug)
    versions = book.versions.prefetch_related("prices").order_by("-number")
    if not viewer.is_fleet:
        versions = versions.filter(published_at__isnull=False)
    return BookOut(
        slug=book.slug,
        name=book.name,
        currency=book.currency,
        tenant_id=book.tenant_id,
        etag=book.etag,
        version=book.version,
        versions=tuple(_version(v, now) for v in versions),
    )


def proposal_of(viewer: Viewer, version: VersionOut) -> Decision | None:
    """The request to publish that a version waits for."""
    require_money(viewer)
    if version.change_id is None or version.published_at is not None:
        return None
    return decision_of(version.change_id)


def differences(old: VersionOut | None, new: VersionOut) -> list[Difference]:
    """Each price of either version, in the order of the new one."""
    before = {p.name: p for p in old.prices} if old else {}
    after = {p.name: p for p in new.prices}
    rows = [_difference(before.get(name), price) for name, price in after.items()]
    gone = [Difference(p, p.text, None, "gone") for n, p in before.items() if n not in after]
    return rows + gone


def _difference(was: PriceOut | None, will: PriceOut) -> Difference:
    return Difference(will, was.text if was else None, will.text, _change(was, will))


def _change(was: PriceOut | None, will: PriceOut) -> str:
    if was is None:
        return "new"
    if was.text == will.text:
        return "same"
    if was.unit_price is None or will.unit_price is None:
        return "other"
    return "dearer" if will.unit_price > was.unit_price else "cheaper"


def _version(row: PriceBookVersion, now: datetime) -> VersionOut:
    effective = row.effective
    return VersionOut(
        number=row.number,
        state=state_of(row, now),
        starts_at=effective.lower if effective else None,
        ends_at=effective.upper if effective else None,
        created_at=row.created_at,
        created_by=row.created_by,
        published_at=row.published_at,
        published_by=row.published_by,
        why=row.why,
        change_id=row.change_id,
        prices=tuple(_price(p) for p in sorted(row.prices.all(), key=_order)),
    )


def _order(price: Price) -> tuple[str, int, str, str, str]:
    meters = [m.value for m in Meter]
    place = meters.index(price.meter) if price.meter else len(meters)
    return (price.model, place, price.runs_on, price.traffic_class, price.kind)


def _price(row: Price) -> PriceOut:
    terms, per = terms_of(row), per_of(row.meter)
    sale = SALES[Meter(row.meter)] if row.meter else None
    text = say_terms(terms, per)
    return PriceOut(
        model=row.model,
        meter=row.meter,
        label=sale.label if sale else "Every meter",
        traffic_class=row.traffic_class,
        runs_on=row.runs_on,
        kind=row.kind,
        text=text,
        price=Decimal(text) if row.unit_price is not None else None,
        per=sale.per_label if sale and row.kind != "factor" else "times the price",
        unit_price=row.unit_price,
    )


def state_of(row: PriceBookVersion, now: datetime) -> str:
    if row.published_at is None or row.effective is None:
        return "proposed" if row.change_id else "draft"
    if row.effective.isempty:
        return "replaced"
    if now < row.effective.lower:
        return "waiting"
    if row.effective.upper is None or now < row.effective.upper:
        return "current"
    return "past"
