"""Charges by the period that they are billed in, which is not always the one they lie in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from billing.models import BillingPeriod, Charge, Invoice, InvoiceLine
from billing.rules.exchange import Exchange
from billing.rules.invoices import ChargeSum

# One walk through the charges that are billed in a period and that no invoice has yet.
MOST = 2**62
BILLED = """
FROM charge c LEFT JOIN billing_period o ON c.correction_period_id IS NOT NULL
    AND o.tenant_id = c.tenant_id AND c.hour >= o.starts_at AND c.hour < o.ends_at
WHERE c.tenant_id = %(tenant)s AND c.id > %(after)s AND c.id <= %(upto)s
    AND (c.correction_period_id = %(period)s
        OR c.correction_period_id IS NULL AND c.hour >= %(start)s AND c.hour < %(end)s)
"""
SUMS = f"""
SELECT c.currency, c.model, c.meter, c.unit_price, sum(c.quantity), sum(c.amount), count(*),
    encode(sha256(string_agg(c.id || ' ' || c.amount, E'\\n' ORDER BY c.id)::bytea), 'hex'),
    min(c.hour), max(c.hour) + interval '1 hour', coalesce(o.name, ''), c.runs_on
{BILLED}
GROUP BY c.currency, c.model, c.meter, c.runs_on, c.unit_price, coalesce(o.name, '')
HAVING sum(c.quantity) <> 0
ORDER BY c.currency, coalesce(o.name, ''), c.model, c.meter, c.runs_on, c.unit_price
"""
LEFT = f"""
SELECT 1 {BILLED}
GROUP BY c.currency, c.model, c.meter, c.runs_on, c.unit_price, coalesce(o.name, '')
HAVING sum(c.quantity) <> 0 LIMIT 1
"""
NEWEST = f"SELECT coalesce(max(c.id), 0) {BILLED}"
CURRENCIES = f"SELECT DISTINCT c.currency {BILLED} ORDER BY 1"
# Numbers of runs follow their time; the newest is found from behind.
TOTALS = f"""
SELECT c.currency, coalesce(o.name, '') <> '' AS corrects, sum(c.amount), count(*),
    coalesce(sum(c.amount) FILTER (WHERE c.run_id > (SELECT coalesce(max(id), 0) FROM rating_run
        WHERE finished_at <= coalesce(%(cut_off)s::timestamptz, 'infinity'))), 0)
{BILLED} GROUP BY 1, 2 HAVING count(*) > 0 ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class BilledTotal:
    currency: str
    corrects: bool  # usage of earlier, closed periods
    amount: Decimal
    charges: int
    since_cut_off: Decimal  # of the amount, what was rated after it


def billed_currencies(period: BillingPeriod, *, after: int, upto: int = MOST) -> list[str]:
    return [row[0] for row in _run(CURRENCIES, period, after, upto)]


def billed_sums(
    period: BillingPeriod, *, after: int, upto: int, exchanges: Mapping[str, Exchange]
) -> dict[str, list[ChargeSum]]:
    """By the currency of their prices, in the order of an invoice's lines.

    Exact amounts are in the currency of the invoice, converted once for each line.
    """
    found: dict[str, list[ChargeSum]] = {}
    for row in _run(SUMS, period, after, upto):
        found.setdefault(row[0], []).append(ChargeSum(*row[1:]))
    return {
        base: [replace(s, exact=exchanges[base].convert(s.exact)) for s in sums]
        for base, sums in found.items()
    }


def has_unbilled(period: BillingPeriod) -> bool:
    """Whether the period has charges that make a line and that no invoice has yet."""
    return bool(_run(LEFT, period, invoiced_upto(period), MOST))


def newest_charge(period: BillingPeriod, *, after: int) -> int:
    return int(_run(NEWEST, period, after, MOST)[0][0])


def billed_totals(period: BillingPeriod) -> list[BilledTotal]:
    """Everything that is billed in the period, invoiced or not."""
    return [BilledTotal(*row) for row in _run(TOTALS, period, 0, MOST)]


def invoiced_upto(period: BillingPeriod) -> int:
    """The newest charge that an invoice of the period has."""
    newest = Invoice.objects.filter(period=period).order_by("-upto_charge").first()
    return newest.upto_charge if newest else 0


def charges_of_line(line: InvoiceLine, invoice: Invoice) -> QuerySet[Charge]:
    """The charges that a line sums up, newest hour first."""
    period = invoice.period
    assert line.unit_price is not None
    own = Q(correction_period=None, hour__gte=period.starts_at, hour__lt=period.ends_at)
    rows = Charge.objects.filter(
        tenant_id=invoice.tenant_id,
        id__gt=invoice.after_charge,
        id__lte=invoice.upto_charge,
        currency=invoice.priced_in,
        model=line.model,
        meter=line.meter,
        runs_on=line.runs_on,
        unit_price=line.unit_price,
    )
    if line.corrects:
        whose = BillingPeriod.objects.get(tenant_id=invoice.tenant_id, name=line.corrects)
        rows = rows.filter(
            correction_period=period, hour__gte=whose.starts_at, hour__lt=whose.ends_at
        )
    else:
        rows = rows.filter(own)
    return rows.select_related("book_version__book").order_by("-hour", "-id")


def _run(sql: str, period: BillingPeriod, after: int, upto: int) -> Sequence[Sequence[Any]]:
    given: dict[str, int | datetime | None] = {
        "tenant": period.tenant_id,
        "period": period.pk,
        "start": period.starts_at,
        "end": period.ends_at,
        "after": after,
        "upto": upto,
        "cut_off": period.cut_off,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, given)
        rows: Sequence[Sequence[Any]] = cursor.fetchall()
    return rows
