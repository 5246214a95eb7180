"""Price books, their versions and the differences of two, as the files of what pages show."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.http import HttpResponse

from billing.queries.prices import BookOut, VersionOut, differences
from console.access import ViewerRequest
from console.downloads import download

PRICES = ("book", "currency", "service", "meter", "class", "kind", "price", "for", "unit_price")
VERSIONS = ("book", "version", "state", "starts_at", "ends_at", "by", "why")
CHANGES = ("service", "meter", "class", "was", "will", "for", "change")


def books_file(request: ViewerRequest, books: Iterable[BookOut]) -> HttpResponse:
    """The prices that hold now, or with `part=versions` the versions of each book."""
    if request.GET.get("part") == "versions":
        return download(request, "price-versions", VERSIONS, _versions(books))
    return download(request, "prices", PRICES, _current(books))


def _current(books: Iterable[BookOut]) -> Iterator[tuple[Any, ...]]:
    for book in books:
        for p in book.current.prices if book.current else ():
            yield (
                *(book.slug, book.currency, p.model, p.meter, p.traffic_class, p.kind, p.text),
                *(p.per, p.unit_price),
            )


def _versions(books: Iterable[BookOut]) -> Iterator[tuple[Any, ...]]:
    for book in books:
        for v in book.versions:
            by = v.published_by or v.created_by
            yield book.slug, v.number, v.state, v.starts_at, v.ends_at, by, v.why


def version_file(
    request: ViewerRequest, book: BookOut, compared: VersionOut | None, shown: VersionOut
) -> HttpResponse:
    """As the page has it: beside the version that it is compared to, where there is one."""
    beside = f"-against-v{compared.number}" if compared else ""
    cells = (
        *((d.price.model, d.price.meter, d.price.traffic_class, d.was, d.will, d.price.per,
           d.change if compared else "") for d in differences(compared, shown)),
    )  # fmt: skip
    return download(request, f"{book.slug}-v{shown.number}{beside}", CHANGES, cells)
