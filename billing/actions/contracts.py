"""Contracts: prices agreed with one tenant, and the hours in which a month's fees are owed."""

from datetime import datetime, timedelta

from django.db import connection, transaction

from billing.models import HourHead, PriceBook, PriceBookVersion
from billing.queries.books import read_tariffs
from billing.queries.fees import FeeHour, fee_hours
from billing.rules.prices import CURRENCIES
from billing.rules.prices.terms import Kind
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
            for fee in fee_hours(version, tariff.calendar, since, now):
                _open(fee, tenant_id, now)


def _open(fee: FeeHour, tenant_id: int, now: datetime) -> None:
    open_hour(fee.hour, tenant_id, now)
    if fee.kind == Kind.COMMITMENT:
        rows = HourHead.objects.filter(hour=fee.hour, tenant_id=tenant_id)
        rows.filter(rated_at__lt=fee.month.ends_at).update(rated_version=0)


def open_hour(hour: datetime, tenant_id: int, now: datetime) -> bool:
    """False: it was open."""
    with connection.cursor() as cursor:
        cursor.execute(HEAD, [hour, tenant_id, now])
        return bool(cursor.rowcount)
