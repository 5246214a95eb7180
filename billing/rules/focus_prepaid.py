"""FOCUS CostAndUsage of credits that were paid ahead: what was bought, used, given back, lost.

Buying is what is paid: a purchase whose effective cost is zero. Using takes as much off, because
the charges that it pays for stand on their invoice in full. So what all rows have as BilledCost is
what was paid or is to be paid, and as EffectiveCost what was used, or expired.

These rows have a document of their own in InvoiceId, the credit's: an invoice's rows add up to its
total without them, and the credit's rows to what is left of it.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.rules.focus import COSTS, UNIT_PRICES, Extra, ExtraKind, Row, extra_row, money
from billing.rules.focus_checks import PREPAID
from billing.rules.grants import EntryKind

UNIT = "Credits"  # of one unit of the currency each
EFFECTIVE = ("EffectiveCost", "PricingCurrencyEffectiveCost")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Prepaid:
    """An entry of a prepaid credit. `amount`: above 0 it was granted or given back."""

    grant_id: int
    kind: EntryKind
    name: str
    tenant: str
    tenant_name: str
    amount: Decimal
    currency: str
    period: str
    period_start: datetime
    period_end: datetime
    charged_start: datetime
    charged_end: datetime
    demo: bool
    document: str = ""  # the invoice that it paid, or the note that gave it back

    @property
    def number(self) -> str:
        return f"{PREPAID}{self.grant_id}"

    @property
    def billed(self) -> Decimal:
        return ZERO if self.kind == EntryKind.EXPIRED else self.amount

    @property
    def effective(self) -> Decimal:
        return -self.amount if self.kind == EntryKind.EXPIRED else ZERO


NAMES = {
    EntryKind.GRANTED: "{name}: paid ahead",
    EntryKind.USED: "{name}: pays {document}",
    EntryKind.UNDONE: "{name}: given back by {document}",
    EntryKind.EXPIRED: "{name}: expired unused",
}
CATEGORIES = {
    EntryKind.GRANTED: "Purchase",
    EntryKind.USED: "Credit",
    EntryKind.UNDONE: "Credit",
    EntryKind.EXPIRED: "Adjustment",
}


def prepaid_row(entry: Prepaid, issuer: str) -> Row:
    row = extra_row(_as_extra(entry), issuer)
    row |= dict.fromkeys(COSTS, money(entry.billed))
    row |= dict.fromkeys(EFFECTIVE, money(entry.effective))
    row["ChargeCategory"] = CATEGORIES[entry.kind]
    if entry.kind == EntryKind.GRANTED:
        row |= _sold(entry)
    return row


def _as_extra(entry: Prepaid) -> Extra:
    return Extra(
        kind=ExtraKind.CREDIT,
        name=NAMES[entry.kind].format(name=entry.name, document=entry.document),
        tenant=entry.tenant,
        tenant_name=entry.tenant_name,
        amount=entry.amount,
        currency=entry.currency,
        period=entry.period,
        period_start=entry.period_start,
        period_end=entry.period_end,
        charged_start=entry.charged_start,
        charged_end=entry.charged_end,
        invoice=entry.number,
        invoice_line="",
        demo=entry.demo,
        corrects=entry.kind == EntryKind.UNDONE,
    )


def _sold(entry: Prepaid) -> Row:
    return dict.fromkeys(UNIT_PRICES, money(Decimal(1))) | {
        "PricingCategory": "Standard",
        "PricingQuantity": f"{entry.amount:.6f}",
        "PricingUnit": UNIT,
        "SkuId": "account/prepaid",
        "SkuMeter": "Prepaid credits",
        "SkuPriceDetails": "{}",
        "SkuPriceId": f"prepaid/{entry.grant_id}",
    }
