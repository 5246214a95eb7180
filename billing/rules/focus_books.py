"""The datasets of FOCUS 1.4 beside CostAndUsage: BillingPeriod and InvoiceDetail."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

from billing.rules.exchange import Exchange
from billing.rules.focus import SoldAs, money, plain, stamp
from billing.rules.invoices import LineKind
from billing.rules.meters import SALES, Meter

PERIOD_COLUMNS = (
    *("BillingPeriodCreated", "BillingPeriodEnd", "BillingPeriodLastUpdated"),
    *("BillingPeriodStart", "BillingPeriodStatus", "InvoiceIssuerName"),
    # A period is an account's own: its zone decides when the month begins.
    *("x_BillingAccountId", "x_BillingPeriodName", "x_TimeZone"),
)
DETAIL_COLUMNS = (
    *("BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "InvoiceDetailCreated"),
    *("InvoiceDetailDescription", "InvoiceDetailGrain", "InvoiceDetailId"),
    *("InvoiceDetailLastUpdated", "InvoiceId", "InvoiceIssueDate", "InvoiceIssueStatus"),
    *("InvoiceIssuerName", "PaymentCurrency", "PaymentCurrencyBilledCost"),
    *("PaymentCurrencyInvoiceDetailId", "PaymentDueDate", "PaymentTerms"),
    *("PurchaseOrderNumber", "ReferenceInvoiceId", "x_ExactCost"),
)
BOOK_TYPES = {
    **dict.fromkeys(("BilledCost", "PaymentCurrencyBilledCost", "x_ExactCost"), "money"),
    **dict.fromkeys(("BillingPeriodCreated", "BillingPeriodEnd"), "time"),
    **dict.fromkeys(("BillingPeriodLastUpdated", "BillingPeriodStart"), "time"),
    **dict.fromkeys(("InvoiceDetailCreated", "InvoiceDetailLastUpdated"), "time"),
    **dict.fromkeys(("InvoiceIssueDate", "PaymentDueDate"), "time"),
}
CATEGORIES = {
    LineKind.PROMOTION: "Credit",
    LineKind.GIVEN_BACK: "Adjustment",
    LineKind.ROUNDING: "Adjustment",
    LineKind.TAX: "Tax",
    LineKind.USAGE: "Usage",
    LineKind.CORRECTION: "Usage",
}
CREDIT = "credit"
BOUGHT = (Meter.FEE, Meter.COMMITMENT)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NULLABLE = ("PaymentDueDate", "PaymentTerms", "PurchaseOrderNumber", "ReferenceInvoiceId")


@dataclass(frozen=True, slots=True)
class PeriodLine:
    tenant: str
    name: str
    time_zone: str
    starts_at: datetime
    ends_at: datetime
    is_closed: bool
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class DetailLine:
    """A line of an invoice, or of a credit note, whose amounts are below zero."""

    tenant: str
    document: str
    place: str  # of the line in the document
    kind: str
    name: str
    model: str
    meter: str
    runs_on: str
    corrects: str
    unit_price: Decimal | None
    amount: Decimal
    exact: Decimal
    currency: str
    issuer: str
    issued_at: datetime
    due_on: date | None
    terms_days: int | None
    purchase_order: str
    period_start: datetime
    period_end: datetime
    exchange: Exchange
    invoice: str = ""  # that a credit note is about
    sold_as: SoldAs = SoldAs.USE


def period_row(line: PeriodLine, issuer: str) -> list[str]:
    return [
        stamp(line.created_at),
        stamp(line.ends_at),
        stamp(line.changed_at),
        stamp(line.starts_at),
        "Closed" if line.is_closed else "Open",
        issuer,
        f"tenant-{line.tenant}",
        line.name,
        line.time_zone,
    ]


def detail_row(line: DetailLine) -> list[str]:
    number = f"{line.document}/{line.place}"
    days = line.terms_days
    return [
        money(line.amount),
        f"tenant-{line.tenant}",
        line.currency,
        stamp(line.period_end),
        stamp(line.period_start),
        category(line),
        stamp(line.issued_at),
        plain(line.name),
        json.dumps(grain(line)),
        number,
        stamp(line.issued_at),
        line.document,
        stamp(line.issued_at),
        "Issued",
        line.issuer,
        line.currency,
        money(line.amount),
        number,
        stamp(datetime.combine(line.due_on, time(), UTC)) if line.due_on else "",
        "" if days is None else f"Net {days}",
        plain(line.purchase_order),
        line.invoice,
        money(line.exact),
    ]


def category(line: DetailLine) -> str:
    if line.kind == CREDIT:
        return "Credit"
    if line.meter in BOUGHT or line.sold_as != SoldAs.USE:
        return "Purchase"
    return CATEGORIES[LineKind(line.kind)]


def grain(line: DetailLine) -> dict[str, str]:
    """What makes this line one: the service and meter at one unit price, or the kind alone."""
    if not line.meter:
        return {"x_LineKind": line.kind, "x_Name": line.name}
    found = {
        "ServiceName": "LLM Serving",
        "SkuId": "/".join(filter(None, (line.model or "account", line.meter, line.runs_on))),
        "SkuMeter": SALES[Meter(line.meter)].label,
        "x_LineKind": line.kind,
    }
    if line.unit_price is not None:
        found["x_UnitPrice"] = money(line.unit_price)
    if line.exchange.converts:
        found["x_PricingCurrency"] = line.exchange.base
        found["x_ExchangeRate"] = money(line.exchange.rate)
    if line.corrects:
        found["x_CorrectedPeriod"] = line.corrects
    return found


def fault_of_book_row(columns: Sequence[str], cells: Sequence[str]) -> str:
    """The first rule that the row breaks, empty when none."""
    row = dict(zip(columns, cells, strict=True))
    for name, cell in row.items():
        if not cell and name not in NULLABLE:
            return f"{name} is empty"
        if cell and BOOK_TYPES.get(name) == "time" and not TIME.fullmatch(cell):
            return f"{name} {cell!r} is not a time in UTC"
    if row["BillingPeriodEnd"] <= row["BillingPeriodStart"]:
        return "BillingPeriodEnd is not after BillingPeriodStart"
    if row.get("InvoiceDetailId", "").rpartition("/")[0] != row.get("InvoiceId", ""):
        return "InvoiceDetailId is not of the invoice"
    if _gives_back(row) and not row["ReferenceInvoiceId"]:
        return "ReferenceInvoiceId is empty on a credit"
    return ""


def _gives_back(row: Mapping[str, str]) -> bool:
    """A credit note's line. A promotion is a credit as well, but of the invoice it stands on."""
    grain_text = row.get("InvoiceDetailGrain", "{}")
    return row.get("ChargeCategory") == "Credit" and (
        json.loads(grain_text).get("x_LineKind") == CREDIT
    )
