"""Filters of money and request pages, read from the address and written back as one. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeVar
from urllib.parse import urlencode

from billing.queries.charged import ChargeFilter
from billing.queries.requests import UsageFilter
from tenants.errors import Invalid, NotFound
from tenants.queries.directory import ApplicationRef, TenantRef

T = TypeVar("T", TenantRef, ApplicationRef)
UNKNOWN = "There is nothing here, or it is not yours to see"


def by_slug(refs: Iterable[T], slug: str) -> T | None:
    """The one that an address names. None: the address names none."""
    if not slug:
        return None
    found = next((ref for ref in refs if ref.slug == slug), None)
    if found is None:
        raise NotFound(UNKNOWN)
    return found


def number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise Invalid(**{name: f"'{text[:20]}' is no number"})
    return int(text)


def charges_query(wanted: ChargeFilter) -> str:
    """The address behind a figure, without the tenant, which is in the path."""
    return compose(
        wanted.start,
        wanted.end,
        application=wanted.application_id,
        model=wanted.model,
        traffic_class=wanted.traffic_class,
        meter=wanted.meter,
    )


def requests_query(wanted: UsageFilter, tenant: str = "") -> str:
    return compose(
        wanted.start,
        wanted.end,
        tenant=tenant,
        application=wanted.application_id,
        model=wanted.model,
        release=wanted.release,
        traffic_class=wanted.traffic_class,
        outcome=wanted.outcome,
    )


def compose(start: datetime, end: datetime, **given: object) -> str:
    kept = {name: value for name, value in given.items() if value not in (None, "")}
    return urlencode({"from": start.isoformat(), "to": end.isoformat(), **kept})
