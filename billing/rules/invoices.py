"""An invoice from exact sums: rounded once, at the line; the difference is a row of its own.

The sum of the rows' exact amounts is the sum of their rounded amounts, by construction, and both
are what is to be paid.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from billing.rules.currencies import to_units

ZERO = Decimal(0)
LARGEST_RATE = Decimal(1)
RATE_STEP = Decimal("0.000001")
MOST_TAXES = 8


class LineKind(StrEnum):
    USAGE = "usage"
    CORRECTION = "correction"  # of a period that was closed before
    ROUNDING = "rounding"
    TAX = "tax"


class TaxPer(StrEnum):
    LINE = "line"
    INVOICE = "invoice"


@dataclass(frozen=True, slots=True)
class Tax:
    name: str
    rate: Decimal  # 0.19 is 19 %


@dataclass(frozen=True, slots=True)
class Terms:
    """How an account is billed."""

    currency: str
    rounding: str
    taxes: tuple[Tax, ...]
    tax_per: str


@dataclass(frozen=True, slots=True)
class ChargeSum:
    """All charges of one SKU at one unit price; `period` names whose usage it is if corrected."""

    model: str
    meter: str
    unit_price: Decimal
    quantity: Decimal
    exact: Decimal
    charges: int
    sha256: str
    starts_at: datetime
    ends_at: datetime
    period: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of an invoice. Only its kind says which of the fields mean something."""

    position: int
    kind: LineKind
    exact: Decimal
    amount: Decimal
    tax: Decimal = ZERO  # of this line, where tax is reckoned by the line
    charged: ChargeSum | None = None
    name: str = ""
    rate: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Bill:
    rows: tuple[Row, ...]
    exact: Decimal  # of usage, before rounding
    net: Decimal
    tax: Decimal

    @property
    def total(self) -> Decimal:
        return self.net + self.tax

    @property
    def rounding(self) -> Decimal:
        return self.net - self.exact


def make_bill(sums: Iterable[ChargeSum], terms: Terms) -> Bill:
    rows: list[Row] = []
    for place, charged in enumerate(sums, start=1):
        amount = to_units(charged.exact, terms.currency, terms.rounding)
        kind = LineKind.CORRECTION if charged.period else LineKind.USAGE
        tax = ZERO
        if terms.tax_per == TaxPer.LINE:
            tax = sum((tax_of(amount, t, terms) for t in terms.taxes), ZERO)
        rows.append(Row(place, kind, charged.exact, amount, tax, charged))
    net = sum((r.amount for r in rows), ZERO)
    exact = sum((r.exact for r in rows), ZERO)
    taxes = [(t, amount_of_tax(t, rows, net, terms)) for t in terms.taxes]
    if net != exact:
        rows.append(Row(len(rows) + 1, LineKind.ROUNDING, net - exact, ZERO, name="Rounding"))
    for tax_, amount in taxes:
        rows.append(
            Row(len(rows) + 1, LineKind.TAX, amount, amount, name=tax_.name, rate=tax_.rate)
        )
    return Bill(tuple(rows), exact, net, sum((amount for _, amount in taxes), ZERO))


def amount_of_tax(tax: Tax, rows: Sequence[Row], net: Decimal, terms: Terms) -> Decimal:
    if terms.tax_per == TaxPer.LINE:
        return sum((tax_of(r.amount, tax, terms) for r in rows), ZERO)
    return tax_of(net, tax, terms)


def tax_of(amount: Decimal, tax: Tax, terms: Terms) -> Decimal:
    return to_units(amount * tax.rate, terms.currency, terms.rounding)


def faults_of_taxes(taxes: Sequence[Tax]) -> str:
    if len(taxes) > MOST_TAXES:
        return f"At most {MOST_TAXES} taxes on one account"
    for tax in taxes:
        if not tax.name.strip() or len(tax.name) > 60:
            return "Each tax has a name of at most 60 characters"
        if not tax.rate.is_finite() or not 0 <= tax.rate <= LARGEST_RATE or tax.rate % RATE_STEP:
            return f"The rate of {tax.name} is a part between 0 and 1 with six decimals, as in 0.19"
    if len({t.name for t in taxes}) < len(taxes):
        return "Two taxes have the same name"
    return ""


@dataclass(frozen=True, slots=True)
class Remains:
    """What credit notes left of an invoice, and of the line that another one names."""

    line: Decimal
    net: Decimal  # of the whole invoice
    tax: Decimal


def refuse_credit(amount: Decimal, remains: Remains, currency: str) -> str:
    """Why this much cannot be credited; empty when it can."""
    if amount <= 0:
        return "Credit an amount above 0"
    if to_units(amount, currency, "HALF_EVEN") != amount:
        return f"{amount} has more decimals than {currency} has"
    if amount > remains.line:
        return f"{remains.line} {currency} remain of this line; credit at most that"
    if amount > remains.net:
        return f"{remains.net} {currency} remain of this invoice; credit at most that"
    return ""


def tax_to_credit(amount: Decimal, remains: Remains, terms: Terms) -> Decimal:
    """The tax on `amount`, and with the last unit of net all tax that is left."""
    if amount == remains.net:
        return remains.tax
    tax = sum((tax_of(amount, t, terms) for t in terms.taxes), ZERO)
    return min(tax, max(remains.tax, ZERO))


def canonical(document: Mapping[str, Any]) -> str:
    """The same document in the same bytes, whoever writes it."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()
