"""Two billed months of two tenants, and how a test reads the files of them."""

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from billing.actions.exports import request_export
from billing.drive.exports import run_due
from billing.queries.exports import get_export, open_export
from tenants.base.scope import scope_of
from tests.billing.books import OCTOBER, bill_month, set_account, spend, tax
from tests.billing.factories import make_prices

DECEMBER = datetime(2026, 12, 5, 9, tzinfo=UTC)
MONTHS = {m: datetime(2026, m, 1, tzinfo=UTC) for m in (10, 11, 12)}


def bill_two_months(acme, globex, gateway):
    """October is billed, then used later and priced anew; November is billed with all that."""
    prices = {"chat": {"prompt": Decimal("1234.567"), "cached": Decimal("3"), "completion": 7}}
    make_prices({"chat": {m: Decimal(p) for m, p in prices["chat"].items()}})
    set_account(acme, taxes=(tax("VAT", "0.19"),))
    for tenant in (acme, globex):
        spend(gateway, tenant)
    october = [bill_month(tenant) for tenant in (acme, globex)]
    late = OCTOBER + timedelta(days=40)
    spend(gateway, acme, at=OCTOBER + timedelta(days=2), now=late, prompt_tokens=1_003)
    spend(gateway, globex, at=late)
    dearer = {"chat": {"prompt": Decimal("1300.1"), "cached": Decimal(3), "completion": Decimal(7)}}
    make_prices(dearer, now=late)
    spend(gateway, acme, at=late)
    november = [bill_month(tenant, "2026-11", now=DECEMBER) for tenant in (acme, globex)]
    return {10: october, 11: november}


def export(who, month, format, file_type="csv", tenant=None):
    """The file of a month; of December, what was issued until now."""
    starts_at = MONTHS[month]
    ends_at = MONTHS.get(month + 1, DECEMBER + timedelta(days=1))
    with scope_of(who):
        job = request_export(
            who, format=format, file_type=file_type, starts_at=starts_at, ends_at=ends_at,
            now=DECEMBER, tenant_id=tenant.pk if tenant else None,
        )  # fmt: skip
    made = run_due(DECEMBER)
    with scope_of(who):
        assert made == 1, get_export(who, job.pk).why
        artifact, data = open_export(who, job.pk)
        with data:
            return artifact, data.read()


def rows_of_file(data):
    return list(csv.DictReader(data.decode().splitlines()))
