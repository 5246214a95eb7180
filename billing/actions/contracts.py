"""Contracts: prices agreed with one tenant, and the hours in which a month's fees are owed."""

from datetime import datetime, timedelta

from django.db import connection, transaction

from billing.models import HourHead, PriceBook, PriceBookVersion
from billing.queries.books import read_tariffs
from billing.queries.months import period_of
from billing.rules.calendars import Calendar
from billing.rules.prices import CURRENCIES
from billing.rules.prices.terms import Kind
from billing.rules.rating import Period, fee_hour
from billing.rules.tariffs import BookVersion
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid
from tenants.queries.directory import TenantRef, tenant_refs
from tenants.rules.access import Permission, Viewer

LOOK_BACK = timedelta(days=40)  # further back only when the contract is new
# An hour in which a fee is owed needs a head, used or not.
HEAD = """
INSERT INTO usage_hour_head (hour, tenant_id, version, events, prompt_tokens, completion_tokens,
    rolled_at, rated_version, amount, currency)
VALUES (%s, %s, 1, 0, 0, 0, %s, 0, 0, '') ON CONFLICT (hour, tenant_id) DO NOTHING
"""


@transaction.atomic
def create_contract(viewer: Viewer, tenant: TenantRef) -> PriceBook:
    """Open the contract of a tenant: a book whose prices come before the list's."""
    viewer.require(Permission.MANAGE_MONEY)
    if tenant.currency not in CURRENCIES:
        raise Invalid(
            tenant=f"{tenant.slug} pays in {tenant.currency!r}, which is not a currency of this"
            " console"
        )
    if PriceBook.objects.filter(tenant_id=tenant.id).exists():
        raise Conflict(f"{tenant.slug} has a contract: draft a new version of it")
    slug = f"contract-{tenant.slug}"[:63]
    if PriceBook.objects.filter(slug=slug).exists():
        raise Conflict(f"There is a book named {slug}")
    book = PriceBook.objects.create(
        slug=slug,
        name=f"Contract with {tenant.name}"[:120],
        currency=tenant.currency,
        tenant_id=tenant.id,
    )
    record(viewer, "contract.create", book, after=book, tenant_id=tenant.id)
    return book


def open_months(now: datetime) -> None:
    """Give every month of a contract the hours in which its fee and its minimum are owed.

    The hour of a minimum is rated again once its month is over. In the scope that is open, under
    the lock of rating, before prices are marked as applied.
    """
    books = PriceBook.objects.exclude(tenant_id=None)
    tenants = tenant_refs(book.tenant_id for book in books if book.tenant_id)
    fresh = set(PriceBookVersion.objects.filter(applied_at=None).values_list("pk", flat=True))
    for tenant_id, tariff in read_tariffs(tenants.values()).items():
        for version in tariff.contract:
            since = version.starts_at
            if version.id not in fresh:
                since = max(since, now - LOOK_BACK)
            for terms in version.by_month.values():
                _open(tenant_id, tariff.calendar, version, terms.kind, since, now)


def _open(
    tenant_id: int,
    calendar: Calendar,
    version: BookVersion,
    kind: Kind,
    at: datetime,
    now: datetime,
) -> None:
    while at <= now:
        period = period_of(at, calendar, now)
        start, end = version.held_in(period.starts_at, period.ends_at)
        if start < end and (period.is_over or kind != Kind.COMMITMENT):
            _mark(fee_hour(kind, start, end), tenant_id, period, kind, now)
        at = period.ends_at


def _mark(hour: datetime, tenant_id: int, period: Period, kind: Kind, now: datetime) -> None:
    open_hour(hour, tenant_id, now)
    if kind == Kind.COMMITMENT:
        rows = HourHead.objects.filter(hour=hour, tenant_id=tenant_id)
        rows.filter(rated_at__lt=period.ends_at).update(rated_version=0)


def open_hour(hour: datetime, tenant_id: int, now: datetime) -> bool:
    """False: it was open."""
    with connection.cursor() as cursor:
        cursor.execute(HEAD, [hour, tenant_id, now])
        return bool(cursor.rowcount)
