"""Lists as files: CSV for people, JSON for programs, of exactly the rows that the filter shows."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

MOST = 50_000  # rows; what is cut off is said in the header X-Truncated
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def wants_file(request: HttpRequest) -> bool:
    return request.GET.get("format") in {"csv", "json"}


def download(
    request: HttpRequest, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> HttpResponse:
    """Answer `rows` as `?format=` asks. Built whole: a stream would outlive the viewer's scope."""
    kept: list[Sequence[Any]] = []
    truncated = False
    for row in rows:
        if len(kept) == MOST:
            truncated = True
            break
        kept.append(row)
    if request.GET.get("format") == "json":
        found = [dict(zip(columns, row, strict=True)) for row in kept]
        response: HttpResponse = JsonResponse(found, safe=False)
    else:
        response = HttpResponse(as_csv(columns, kept), content_type="text/csv; charset=utf-8")
    end = "json" if request.GET.get("format") == "json" else "csv"
    response["Content-Disposition"] = f'attachment; filename="{name}.{end}"'
    response["Cache-Control"] = "no-store"
    if truncated:
        response["X-Truncated"] = f"only the first {MOST} rows"
    return response


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(value) for value in row])
    return text.getvalue()


def cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets a quote before it. Numbers are written
    out, as 0.000000500000 and not as 5.00000E-7."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return cell(" ".join(map(str, value)))
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return value
