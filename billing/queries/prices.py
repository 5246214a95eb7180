"""Price books and their versions, for people."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import QuerySet

from billing.models import PriceBook, PriceBookVersion
from billing.queries.visibility import require_money
from billing.rules.meters import SALES, Meter
from tenants.errors import NotFound
from tenants.rules.access import Viewer


@dataclass(frozen=True, slots=True)
class PriceOut:
    """A price as people say it (`price` is `per`), and as it is charged (`unit_price`)."""

    model: str
    meter: str
    label: str
    traffic_class: str
    price: Decimal
    per: str
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class VersionOut:
    number: int
    state: str  # draft, waiting, current, past, replaced
    starts_at: datetime | None
    ends_at: datetime | None
    created_at: datetime
    created_by: str
    published_at: datetime | None
    published_by: str
    why: str
    prices: tuple[PriceOut, ...]


@dataclass(frozen=True, slots=True)
class BookOut:
    slug: str
    name: str
    currency: str
    etag: str
    version: int  # for If-Match and forms
    versions: tuple[VersionOut, ...]  # newest first

    @property
    def current(self) -> VersionOut | None:
        return next((v for v in self.versions if v.state == "current"), None)


def list_books(viewer: Viewer) -> QuerySet[PriceBook]:
    require_money(viewer)
    return PriceBook.objects.order_by("-id")


def get_book(viewer: Viewer, slug: str, *, now: datetime) -> BookOut:
    """List prices are no secret among those who see money; drafts are with the fleet's people."""
    book = list_books(viewer).filter(slug=slug).first()
    if book is None:
        raise NotFound(f"There is no price book {slug}")
    versions = book.versions.prefetch_related("prices").order_by("-number")
    if not viewer.is_fleet:
        versions = versions.filter(published_at__isnull=False)
    return BookOut(
        slug=book.slug,
        name=book.name,
        currency=book.currency,
        etag=book.etag,
        version=book.version,
        versions=tuple(_version(v, now) for v in versions),
    )


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
        prices=tuple(
            PriceOut(
                model=p.model,
                meter=p.meter,
                label=SALES[Meter(p.meter)].label,
                traffic_class=p.traffic_class,
                price=(p.unit_price * SALES[Meter(p.meter)].per).normalize() + 0,
                per=SALES[Meter(p.meter)].per_label,
                unit_price=p.unit_price,
            )
            for p in sorted(
                row.prices.all(),
                key=lambda p: (p.model, list(Meter).index(Meter(p.meter)), p.traffic_class),
            )
        ),
    )


def state_of(row: PriceBookVersion, now: datetime) -> str:
    if row.published_at is None or row.effective is None:
        return "draft"
    if row.effective.isempty:
        return "replaced"
    if now < row.effective.lower:
        return "waiting"
    if row.effective.upper is None or now < row.effective.upper:
        return "current"
    return "past"
