"""Row rules of FOCUS that the official validator lets pass, and those it shares with us.

It judges lists of allowed values on the whole column, never multiplies price by quantity, and
accepts times without a zone: a file is checked here, row by row, before it gets its name.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from billing.rules.focus import COLUMNS, COSTS, MANY, PICO, TIMES, UNIT_PRICES

NOT_NULL = {
    "1.4": (
        *("BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd"),
        *("BillingPeriodStart", "ChargeCategory", "ChargePeriodEnd", "ChargePeriodStart"),
        *("ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost"),
        *("ServiceCategory", "ServiceName", "ServiceProviderName", "HostProviderName"),
    ),
    "1.3": (
        *("BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd"),
        *("BillingPeriodStart", "ChargeCategory", "ChargePeriodEnd", "ChargePeriodStart"),
        *("ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost"),
        *("ServiceCategory", "ServiceName", "ServiceProviderName", "HostProviderName"),
        *("ProviderName", "PublisherName"),
    ),
    "1.2": (
        *("BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd"),
        *("BillingPeriodStart", "ChargeCategory", "ChargePeriodEnd", "ChargePeriodStart"),
        *("ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost"),
        *("ServiceCategory", "ServiceName", "ProviderName", "PublisherName"),
    ),
}
ALLOWED = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"", "Standard", "Dynamic", "Committed", "Other"},
    "ServiceCategory": {"AI and Machine Learning"},
    "ServiceSubcategory": {"Generative AI"},
    "ConsumedUnit": {"", "Tokens", "Requests", "GPU-Seconds", "GiB-Hours"},
    "PricingUnit": {
        *("", "Tokens", "Requests", "GPU-Seconds", "GiB-Hours", "Months", "Credits"),
    },
}
PREPAID = "PREPAID-"  # as rules.focus_prepaid numbers its documents
NOT_SOLD = ("Adjustment", "Credit", "Tax")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
CURRENCY = re.compile("[A-Z]{3}")
NUMBER = re.compile(r"-?\d+\.\d+")
NUMBERS = (*COSTS, *UNIT_PRICES, "ConsumedQuantity", "PricingQuantity")
USAGE = ("PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit")
SKU = ("SkuId", "SkuMeter", "SkuPriceId")
# Price x quantity = cost: the strictest of alike pairs comes first, and the last two may be off by
# what converting rounds.
IN_PRICING_CURRENCY = (
    ("PricingCurrencyListUnitPrice", "PricingCurrencyEffectiveCost"),
    ("PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost"),
)
IN_BILLING_CURRENCY = (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "BilledCost"))

Row = Mapping[str, str]


def faults_of_header(columns: Sequence[str], version: str) -> list[str]:
    known = set(COLUMNS[version])
    missing = [f"{name} is missing" for name in COLUMNS[version] if name not in columns]
    strange = [
        f"{name} is not of FOCUS {version} and does not begin with x_"
        for name in columns
        if name not in known and not name.startswith("x_")
    ]
    return missing + strange


def fault_of_row(row: Row, version: str) -> str:
    """The first rule that the row breaks, empty when none."""
    return first_fault(row, version, CHECKS)


def first_fault(row: Row, version: str, checks: Iterable[Callable[[Row], str]]) -> str:
    for name in NOT_NULL[version]:
        if not row[name]:
            return f"{name} is empty"
    for check in checks:
        if fault := check(row):
            return fault
    return ""


def fault_of_enums(row: Row, values: Mapping[str, Collection[str]] = ALLOWED) -> str:
    for name, allowed in values.items():
        if row[name] not in allowed:
            return f"{name} {row[name]!r} is not allowed"
    for name in ("BillingCurrency", "PricingCurrency"):
        if not CURRENCY.fullmatch(row[name]):
            return f"{name} is not a code of three letters"
    return ""


def fault_of_numbers(row: Row) -> str:
    if all(NUMBER.fullmatch(text) for text in {row[name] for name in NUMBERS} if text):
        return ""  # most cells of a row are alike
    for name in NUMBERS:
        if row[name] and not NUMBER.fullmatch(row[name]):
            return f"{name} {row[name]!r} is not a decimal with a point"
    return ""


@lru_cache(MANY)
def _is_time(text: str) -> bool:
    return TIME.fullmatch(text) is not None


def fault_of_times(row: Row) -> str:
    for name in TIMES:
        if not _is_time(row[name]):
            return f"{name} {row[name]!r} is not a time in UTC"
    if row["ChargePeriodEnd"] <= row["ChargePeriodStart"]:
        return "ChargePeriodEnd is not after ChargePeriodStart"
    if row["BillingPeriodEnd"] <= row["BillingPeriodStart"]:
        return "BillingPeriodEnd is not after BillingPeriodStart"
    return ""


def fault_of_usage(row: Row) -> str:
    if row["ChargeCategory"] == "Purchase" and row["ChargeFrequency"] == "Usage-Based":
        return "ChargeFrequency Usage-Based on a purchase"
    if row["ChargeCategory"] in NOT_SOLD:
        filled = [n for n in (*USAGE, *SKU, *UNIT_PRICES, "PricingCategory") if row[n]]
        return f"{filled[0]} is filled where nothing was sold" if filled else ""
    if row["ChargeCategory"] != "Usage":
        return ""
    for name in (*USAGE, *SKU, *UNIT_PRICES, "PricingCategory"):
        if not row[name]:
            return f"{name} is empty on usage"
    return ""


def _product(row: Row) -> str:
    """Price x quantity = cost, to the last decimal of the pricing currency.

    What is converted into another currency is rounded at 12 decimals: the unit price and the cost.
    """
    if not row["PricingQuantity"]:
        return ""
    try:
        quantity = Decimal(row["PricingQuantity"])
        same = row["PricingCurrency"] == row["BillingCurrency"]
        off = Decimal(0) if same else (abs(quantity) + 1) * PICO
        seen: set[tuple[str, str]] = set()
        in_pricing = () if row["PricingUnit"] == "Credits" else IN_PRICING_CURRENCY
        pairs = [(*names, Decimal(0)) for names in in_pricing]
        for price, cost, most in [*pairs, *((*names, off) for names in IN_BILLING_CURRENCY)]:
            if (pair := (row[price], row[cost])) in seen:
                continue
            seen.add(pair)
            if abs(Decimal(pair[0]) * quantity - Decimal(pair[1])) > most:
                return f"{price} x PricingQuantity is not {cost}"
    except InvalidOperation:
        return "a price, quantity or cost is not a number"
    return ""


def fault_of_correction(row: Row) -> str:
    """What was used in another billing period, and what is taken back, corrects something."""
    if row["ChargeClass"]:
        return "a correction of a rounding" if row["ChargeCategory"] == "Adjustment" else ""
    inside = row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["BillingPeriodEnd"]
    if not inside:
        return "ChargeClass is empty on a charge of another billing period"
    if row["PricingQuantity"].startswith("-"):
        return "ChargeClass is empty on a negative quantity"
    return ""


def _invoice(row: Row) -> str:
    if row["InvoiceDetailId"] and not row["InvoiceId"]:
        return "InvoiceDetailId without InvoiceId"
    number, slash, _ = row["InvoiceDetailId"].rpartition("/")
    if slash and number != row["InvoiceId"]:
        return "InvoiceDetailId is not of the invoice"
    if row["ChargeCategory"] in NOT_SOLD and not row["InvoiceId"]:
        return f"{row['ChargeCategory']} without InvoiceId"
    if row["InvoiceId"].startswith(PREPAID):
        return _fault_of_prepaid(row)
    if row["x_IsRounding"] == "true" and row["ChargeCategory"] != "Adjustment":
        return "x_IsRounding on what is no adjustment"
    return ""


def _fault_of_prepaid(row: Row) -> str:
    """Bought or used it costs nothing: what it pays for does. What expires is lost."""
    if row["ChargeCategory"] not in ("Purchase", "Credit", "Adjustment"):
        return f"ChargeCategory {row['ChargeCategory']} on a prepaid credit"
    is_lost = row["ChargeCategory"] == "Adjustment"
    if Decimal(row["BilledCost" if is_lost else "EffectiveCost"]):
        return "EffectiveCost of a prepaid credit that was not lost, or BilledCost of one that was"
    return ""


def faults_of_invoices(sums: Mapping[str, Decimal], totals: Mapping[str, Decimal]) -> list[str]:
    """Whole invoices whose rows do not add up to what is to be paid."""
    return [
        f"The rows of {number} add up to {sums.get(number, Decimal(0))}, its total is {total}"
        for number, total in totals.items()
        if sums.get(number, Decimal(0)) != total
    ]


@lru_cache(MANY)
def _fault_of_object(text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return "is not JSON"
    return "" if isinstance(found, dict) else "is not an object"


def fault_of_objects(row: Row) -> str:
    for name in ("Tags", "SkuPriceDetails", "AllocatedTags", "AllocatedMethodDetails"):
        if fault := _fault_of_object(row[name] or "{}"):
            return f"{name} {fault}"
    if row["ResourceId"] and not row["ResourceType"]:
        return "ResourceId without ResourceType"
    return ""


CHECKS: tuple[Callable[[Row], str], ...] = (
    *(fault_of_enums, fault_of_numbers, fault_of_times, fault_of_usage),
    *(_product, fault_of_correction, _invoice, fault_of_objects),
)
