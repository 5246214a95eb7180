"""Price books, their versions and the differences of two, as the files of what pages show."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.http import HttpResponse

from billing.queries.prices import BookOut, VersionOut, differences
from console.access import ViewerRequest
from console.downloads import download

PRICES = (
    *("book", "currency", "service", "meter", "runs_on", "class", "kind", "price", "for"),
    "unit_price",
)
VERSIONS = ("book", "version", "state", "starts_at", "ends_at", "by", "why")
CHANGES = ("service", "meter", "runs_on", "class", "was", "will", "for", "change")
UNPRICED = ("hour", "tenant", "service", "class", "meter", "runs_on", "quantity")
GPUS = ("sheet", "starts_at", "product", "hourly", "currency", "by")
Unpriced = Sequence[tuple[str, Any]]  # slugs of tenants with their usage


def index_file(
    request: ViewerRequest,
    books: Iterable[BookOut],
    unpriced: Unpriced,
    sheets: Iterable[Any],
) -> HttpResponse:
    """The prices that hold now, or the `part` of the page that is asked for."""
    match request.GET.get("part"):
        case "versions":
            return download(request, "price-versions", VERSIONS, _versions(books))
        case "unpriced":
            return download(request, "unpriced", UNPRICED, _unpriced(unpriced))
        case "gpus":
            return download(request, "gpu-prices", GPUS, _gpus(sheets))
        case _:
            return download(request, "prices", PRICES, _current(books))


def _current(books: Iterable[BookOut]) -> Iterator[tuple[Any, ...]]:
    for book in books:
        for p in book.current.prices if book.current else ():
            yield (
                *(book.slug, book.currency, p.model, p.meter, p.runs_on, p.traffic_class, p.kind),
                *(p.text, p.per, p.unit_price),
            )


def _versions(books: Iterable[BookOut]) -> Iterator[tuple[Any, ...]]:
    for book in books:
        for v in book.versions:
            by = v.published_by or v.created_by
            yield book.slug, v.number, v.state, v.starts_at, v.ends_at, by, v.why


def _unpriced(rows: Unpriced) -> Iterator[tuple[Any, ...]]:
    for tenant, u in rows:
        yield u.hour, tenant, u.model, u.traffic_class, u.meter, u.runs_on, u.quantity


def _gpus(sheets: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    for sheet in sheets:
        since = sheet.effective.lower if sheet.effective else None
        for p in sheet.prices.all():
            yield sheet.number, since, p.product, p.hourly, sheet.currency, sheet.created_by


def version_file(
    request: ViewerRequest, book: BookOut, compared: VersionOut | None, shown: VersionOut
) -> HttpResponse:
    """As the page has it: beside the version that it is compared to, where there is one."""
    beside = f"-against-v{compared.number}" if compared else ""
    cells = (
        *((d.price.model, d.price.meter, d.price.runs_on, d.price.traffic_class, d.was, d.will,
           d.price.per, d.change if compared else "") for d in differences(compared, shown)),
    )  # fmt: skip
    return download(request, f"{book.slug}-v{shown.number}{beside}", CHANGES, cells)
