"""An invoice from exact sums: rounded once, at the line; the difference is a row of its own.

The sum of the rows' exact amounts is the sum of their rounded amounts, by construction, and both
are what is to be paid.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from billing.rules.currencies import to_units
from billing.rules.grants import Balance, Draw, Item, draw_down
from billing.rules.prices.terms import plain

ZERO = Decimal(0)
LARGEST_RATE = Decimal(1)
RATE_STEP = Decimal("0.000001")
MOST_TAXES = 8


class LineKind(StrEnum):
    USAGE = "usage"
    CORRECTION = "correction"  # of a period that was closed before
    PROMOTION = "promotion"  # a credit that nobody paid for: it lowers the net
    GIVEN_BACK = "given_back"  # by credit notes: what makes up for a bill below zero
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
    runs_on: str = ""


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
    """Promotions lower the net, so that they are not taxed; prepaid credits pay the total."""

    rows: tuple[Row, ...]
    exact: Decimal  # of usage, before rounding
    net: Decimal
    tax: Decimal
    draws: tuple[Draw, ...] = ()
    given_back: Decimal = ZERO  # what would be below zero, and is on credit notes instead

    @property
    def total(self) -> Decimal:
        return self.net + self.tax

    @property
    def promoted(self) -> Decimal:
        return sum((d.amount for d in self.draws if not d.grant.paid), ZERO)

    @property
    def prepaid(self) -> Decimal:
        return sum((d.amount for d in self.draws if d.grant.paid), ZERO)

    @property
    def rounding(self) -> Decimal:
        return self.net + self.promoted - self.exact - self.given_back


def make_bill(sums: Iterable[ChargeSum], terms: Terms, credits: Sequence[Balance] = ()) -> Bill:
    """Round each sum, let credits pay, add taxes and the rounding as rows of their own.

    Taxes rounded by the line may be below zero where the net is not, or of a net of nothing: then
    they are of the net.
    """
    charged = [(c, to_units(c.exact, terms.currency, terms.rounding)) for c in sums]
    draws = draw_down([Item(c.model, c.meter, amount) for c, amount in charged], credits)
    promotions = [d for d in draws if not d.grant.paid]
    bases = [amount for _, amount in charged]  # what tax is reckoned on
    for d in promotions:
        bases[d.place] -= d.amount
    rows = [
        _charged_row(place, c, amount, base, terms)
        for place, ((c, amount), base) in enumerate(zip(charged, bases, strict=True), start=1)
    ]
    exact = sum((r.exact for r in rows), ZERO)
    rounded = sum((r.amount for r in rows), ZERO)
    net = sum(bases, ZERO)
    rows += _promotion_rows(promotions, len(rows))
    if rounded != exact:
        rows.append(Row(len(rows) + 1, LineKind.ROUNDING, rounded - exact, ZERO, name="Rounding"))
    taxes = [(t, amount_of_tax(t, bases, net, terms)) for t in terms.taxes]
    tax = sum((amount for _, amount in taxes), ZERO)
    if net >= 0 and (tax < 0 or tax and not net):
        return make_bill([c for c, _ in charged], replace(terms, tax_per=TaxPer.INVOICE), credits)
    for of, amount in taxes:
        rows.append(Row(len(rows) + 1, LineKind.TAX, amount, amount, name=of.name, rate=of.rate))
    return Bill(tuple(rows), exact, net, tax, tuple(draws))


def settle(bill: Bill, parts: Iterable[tuple[str, Decimal]]) -> Bill:
    """A bill below zero with a row for each part that is given back; nothing is left to pay.

    Tax follows what is given back, on its credit notes, so here is none.
    """
    rows = [replace(r, tax=ZERO) for r in bill.rows if r.charged is not None]
    for name, amount in parts:
        rows.append(Row(len(rows) + 1, LineKind.GIVEN_BACK, amount, amount, name=name))
    given_back = sum((r.amount for r in rows if r.kind == LineKind.GIVEN_BACK), ZERO)
    if given_back != -bill.net:
        raise ValueError(f"{given_back} is given back of {-bill.net}")
    if difference := sum((r.exact for r in rows), ZERO):
        rows.append(Row(len(rows) + 1, LineKind.ROUNDING, -difference, ZERO, name="Rounding"))
    return Bill(tuple(rows), bill.exact, ZERO, ZERO, given_back=given_back)


def _charged_row(place: int, c: ChargeSum, amount: Decimal, base: Decimal, terms: Terms) -> Row:
    kind = LineKind.CORRECTION if c.period else LineKind.USAGE
    tax = ZERO
    if terms.tax_per == TaxPer.LINE:
        tax = sum((tax_of(base, t, terms) for t in terms.taxes), ZERO)
    return Row(place, kind, c.exact, amount, tax, c)


def _promotion_rows(draws: Sequence[Draw], before: int) -> list[Row]:
    """One row for each promotion, in the order of use."""
    by_grant: dict[int, Decimal] = {}
    for d in draws:
        by_grant[d.grant.id] = by_grant.get(d.grant.id, ZERO) + d.amount
    names = {d.grant.id: d.grant.name for d in draws}
    return [
        Row(before + n, LineKind.PROMOTION, -amount, -amount, name=names[grant_id])
        for n, (grant_id, amount) in enumerate(by_grant.items(), start=1)
    ]


def amount_of_tax(tax: Tax, bases: Sequence[Decimal], net: Decimal, terms: Terms) -> Decimal:
    if terms.tax_per == TaxPer.LINE:
        return sum((tax_of(base, tax, terms) for base in bases), ZERO)
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
    lost: Decimal = ZERO  # of the line, paid by promotions that have ended: not in `line`


def refuse_credit(
    amount: Decimal, remains: Remains, currency: str, *, promoted: Decimal = ZERO
) -> str:
    """Why this much cannot be credited, of which promotions take `promoted` back; or empty."""
    if amount <= 0:
        return "Credit an amount above 0"
    if to_units(amount, currency, "HALF_EVEN") != amount:
        return f"{amount} has more decimals than {currency} has"
    if amount > remains.line:
        lost = ""
        if remains.lost:
            lost = f" ({plain(remains.lost)} were paid by promotions that have ended)"
        return f"{plain(remains.line)} {currency} remain of this line{lost}; credit at most that"
    if amount - promoted > remains.net:
        return f"{plain(remains.net)} {currency} remain of this invoice; credit at most that"
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
