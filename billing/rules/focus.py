"""FOCUS CostAndUsage: one mapping of our charges, projected to 1.4, 1.3 and 1.2.

Columns whose feature does not exist here (capacity reservations, commitment discounts) are absent
from 1.4 and 1.3, and empty in 1.2, where the official rules look for them.

Charges that differ in hour and amount alone are one `Line`, mapped once however many rows it has:
a cell of it is its text, or the `Measure` that is read for each row.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from functools import lru_cache
from types import MappingProxyType

from billing.rules.exchange import Exchange
from billing.rules.meters import SALES, Meter

PICO = Decimal("0.000000000001")
MANY = 4_096  # texts that are kept: most cells of a file say what others said before
ALLOCATED = (
    "AllocatedMethodDetails",
    "AllocatedMethodId",
    "AllocatedResourceId",
    "AllocatedResourceName",
    "AllocatedTags",
)
ALL = (
    *("AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName"),
    *("BillingAccountType", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart"),
    *("ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency"),
    *("ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit"),
    *("ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceId"),
    *("InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory", "PricingCurrency"),
    *("PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost"),
    *("PricingCurrencyListUnitPrice", "PricingQuantity", "PricingUnit", "RegionId"),
    *("RegionName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory"),
    *("ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails"),
    *("SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType", "Tags"),
)
SINCE_1_3 = (*ALLOCATED, "HostProviderName", "ServiceProviderName")
SINCE_1_4 = ("InvoiceDetailId",)
UNTIL_1_3 = ("ProviderName", "PublisherName")
ONLY_1_2 = (
    *("CapacityReservationId", "CapacityReservationStatus", "CommitmentDiscountCategory"),
    *("CommitmentDiscountId", "CommitmentDiscountName", "CommitmentDiscountQuantity"),
    *("CommitmentDiscountStatus", "CommitmentDiscountType", "CommitmentDiscountUnit"),
)
OWN = ("x_Demo", "x_IsRounding", "x_PriceBookVersion", "x_RatingRunId", "x_TrafficClass")
COLUMNS = {
    "1.4": (*sorted((*ALL, *SINCE_1_3, *SINCE_1_4)), *OWN),
    "1.3": (*sorted((*ALL, *SINCE_1_3, *UNTIL_1_3)), *OWN),
    "1.2": (*sorted((*ALL, *ONLY_1_2, *UNTIL_1_3)), *OWN),
}
COSTS = (
    "BilledCost",
    "ContractedCost",
    "EffectiveCost",
    "ListCost",
    "PricingCurrencyEffectiveCost",
)
PRICED_UNIT_PRICES = ("PricingCurrencyContractedUnitPrice", "PricingCurrencyListUnitPrice")
UNIT_PRICES = ("ContractedUnitPrice", "ListUnitPrice", *PRICED_UNIT_PRICES)
ISSUERS = (
    *("InvoiceIssuerName", "ServiceProviderName", "HostProviderName"),
    *("ProviderName", "PublisherName"),
)
Row = dict[str, str]


class Measure(Enum):
    """What each row of a line has of its own, as text."""

    START = "start"  # of the hour
    END = "end"
    QUANTITY = "quantity"
    AMOUNT = "amount"
    BILLED = "billed"  # the amount in the currency of the invoice
    RUN = "run"


Cell = str | Measure
Cells = dict[str, Cell]


class SoldAs(StrEnum):
    """How a quantity was sold: by use, as whole packages, or for a month."""

    USE = "use"
    PACKAGE = "package"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Line:
    """What is charged for one meter at one price, hour by hour, with the names of who pays."""

    tenant: str  # slug
    tenant_name: str
    application_id: int
    application: str  # slug
    application_name: str
    cost_centre: str
    model: str
    traffic_class: str
    meter: str
    unit_price: Decimal
    currency: str
    book: str
    book_version: int
    period: str  # 2026-11, the name of the month that it is billed in
    period_start: datetime
    period_end: datetime
    month_start: datetime  # the month that the usage is of
    month_end: datetime
    demo: bool
    exchange: Exchange  # of the invoice; before there is one, nothing is converted
    sold_as: SoldAs = SoldAs.USE
    corrects: bool = False  # a period that was closed or billed before
    invoice: str = ""  # its number, once it is issued
    invoice_line: str = ""
    runs_on: str = ""  # a GPU product of GPU time, or a hosted provider

    @property
    def billed_in(self) -> str:
        return self.exchange.quote

    @property
    def sku(self) -> str:
        return "/".join(filter(None, (self.model or "account", self.meter, self.runs_on)))


class ExtraKind(StrEnum):
    """What stands on an invoice besides charges."""

    PROMOTION = "promotion"  # prepaid credits pay the total and stand on no line
    CREDIT = "credit"  # a credit note gave it back
    GIVEN_BACK = "given_back"  # makes up for charges below zero, which are on credit notes
    ROUNDING = "rounding"
    TAX = "tax"


CATEGORIES = {
    ExtraKind.PROMOTION: "Credit",
    ExtraKind.CREDIT: "Credit",
    ExtraKind.GIVEN_BACK: "Adjustment",
    ExtraKind.ROUNDING: "Adjustment",
    ExtraKind.TAX: "Tax",
}


@dataclass(frozen=True, slots=True)
class Extra:
    """A tax, what rounding the lines of an invoice made of its exact charges, or what a credit note
    gave back of an earlier one."""

    kind: ExtraKind
    name: str
    tenant: str
    tenant_name: str
    amount: Decimal
    currency: str
    period: str
    period_start: datetime
    period_end: datetime
    charged_start: datetime  # the month that it charges, or gives back of
    charged_end: datetime
    invoice: str
    invoice_line: str
    demo: bool
    corrects: bool = False  # a document that was issued before

    @property
    def billed_in(self) -> str:
        return self.currency


def focus_row(line: Line, issuer: str) -> Cells:
    """All columns of every version; a file takes those of its own."""
    sale = SALES[Meter(line.meter)]
    row = common(line, issuer, amount=Measure.AMOUNT, billed=Measure.BILLED) | who(line)
    row |= dict.fromkeys(UNIT_PRICES, money(line.exchange.convert(line.unit_price)))
    row |= dict.fromkeys(PRICED_UNIT_PRICES, money(line.unit_price))
    row |= {
        "ChargeClass": "Correction" if line.corrects else "",
        "ChargeDescription": described(line),
        "ChargePeriodEnd": Measure.END,
        "ChargePeriodStart": Measure.START,
        "PricingCategory": "Standard",
        "PricingQuantity": Measure.QUANTITY,
        "PricingUnit": sale.unit,
        "SkuId": line.sku,
        "SkuMeter": sale.label,
        "SkuPriceDetails": details(line),
        "SkuPriceId": f"{line.book}-{line.book_version}/{line.sku}",
        "x_PriceBookVersion": f"{line.book}-{line.book_version}",
        "x_RatingRunId": Measure.RUN,
        "x_TrafficClass": line.traffic_class,
    }
    return row | sold(line) | resource(line)


def extra_row(extra: Extra, issuer: str) -> Row:
    """Of the whole period and account; nothing was sold, so it has no quantity and no price."""
    amount = money(extra.amount)
    row = common(extra, issuer, amount=amount, billed=amount) | {
        "BillingAccountId": f"tenant-{extra.tenant}",
        "BillingAccountName": plain(extra.tenant_name),
        "BillingAccountType": "Tenant",
        "ChargeCategory": CATEGORIES[extra.kind],
        "ChargeClass": "Correction" if extra.corrects else "",
        "ChargeDescription": plain(extra.name),
        "ChargeFrequency": "One-Time",
        "ChargePeriodEnd": stamp(extra.charged_end),
        "ChargePeriodStart": stamp(extra.charged_start),
        "Tags": "{}",
        "x_IsRounding": "true" if extra.kind == ExtraKind.ROUNDING else "false",
    }
    return filled(row, {})


EMPTY = dict.fromkeys((*ALL, *SINCE_1_3, *SINCE_1_4, *ONLY_1_2, *UNTIL_1_3, *OWN), "")


def common(item: Line | Extra, issuer: str, *, amount: Cell, billed: Cell) -> Cells:
    """What every row has, whatever it charges."""
    return {
        **EMPTY,
        **dict.fromkeys(COSTS, billed),
        **dict.fromkeys(ISSUERS, issuer),
        "BillingCurrency": item.billed_in,
        "BillingPeriodEnd": stamp(item.period_end),
        "BillingPeriodStart": stamp(item.period_start),
        "InvoiceDetailId": item.invoice_line,
        "InvoiceId": item.invoice,
        "PricingCurrency": item.currency,
        "PricingCurrencyEffectiveCost": amount,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "LLM Serving",
        "ServiceSubcategory": "Generative AI",
        "x_Demo": "true" if item.demo else "false",
        "x_IsRounding": "false",
    }


def filled(cells: Mapping[str, Cell], measures: Mapping[Measure, str]) -> Row:
    """One row of a line."""
    return {
        name: measures[cell] if isinstance(cell, Measure) else cell for name, cell in cells.items()
    }


def sold(line: Line) -> Cells:
    """Use is metered; packages and months are bought, whether used or not."""
    if line.sold_as == SoldAs.USE:
        return {
            "ChargeCategory": "Usage",
            "ChargeFrequency": "Usage-Based",
            "ConsumedQuantity": Measure.QUANTITY,
            "ConsumedUnit": SALES[Meter(line.meter)].unit,
        }
    if line.sold_as == SoldAs.PACKAGE:
        return {"ChargeCategory": "Purchase", "ChargeFrequency": "One-Time"}
    return {
        "ChargeCategory": "Purchase",
        "ChargeFrequency": "Recurring",
        "ChargePeriodEnd": stamp(line.month_end),
        "ChargePeriodStart": stamp(line.month_start),
    }


def resource(line: Line) -> Row:
    if not line.model:
        return {}
    return {
        "ResourceId": f"service/{line.model}",
        "ResourceName": line.model,
        "ResourceType": "Model Service",
    }


def who(line: Line) -> Row:
    """The tenant pays, the application is its cost centre. Ids carry letters: readers that guess
    types must not take them for numbers."""
    account = {
        "BillingAccountId": f"tenant-{line.tenant}",
        "BillingAccountName": plain(line.tenant_name),
        "BillingAccountType": "Tenant",
        "Tags": written(("cost_centre", line.cost_centre)) if line.cost_centre else "{}",
    }
    if not line.application_id:
        return account
    return account | {
        "SubAccountId": f"application-{line.application_id}",
        "SubAccountName": plain(line.application_name),
        "SubAccountType": "Application",
    }


def described(line: Line) -> str:
    place = f"on {line.runs_on}" if line.runs_on else ""
    return ", ".join(filter(None, (SALES[Meter(line.meter)].label, line.model, place)))


def details(line: Line) -> str:
    if line.sold_as == SoldAs.MONTH:
        return "{}"
    found = [("x_ModelName", line.model)]
    if line.traffic_class:
        found.append(("x_TrafficClass", line.traffic_class))
    if SALES[Meter(line.meter)].unit == "Tokens":
        found.append(("x_TokenType", line.meter))
    if line.runs_on:
        found.append(("x_RunsOn", line.runs_on))
    return written(*found)


@lru_cache(MANY)
def written(*pairs: tuple[str, str]) -> str:
    return json.dumps(dict(pairs))


CSV_COLUMNS = (
    *("hour", "tenant", "application", "cost_centre", "model", "traffic_class", "meter"),
    *("quantity", "unit", "unit_price", "amount", "currency", "price_book", "version", "demo"),
)
TIMES = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
TYPES = {
    **dict.fromkeys((*COSTS, *UNIT_PRICES, "unit_price", "amount"), "money"),
    **dict.fromkeys(("ConsumedQuantity", "PricingQuantity", "quantity"), "count"),
    **dict.fromkeys((*TIMES, "hour"), "time"),
    "CommitmentDiscountQuantity": "count",
}


def typed(
    columns: Sequence[str], types: Mapping[str, str] = MappingProxyType(TYPES)
) -> list[tuple[str, str]]:
    """Names with the types of their cells, for forms that have types."""
    return [(name, types.get(name, "text")) for name in columns]


def csv_row(line: Line) -> Cells:
    """In the order of `CSV_COLUMNS`."""
    return {
        "hour": Measure.START,
        "tenant": line.tenant,
        "application": line.application,
        "cost_centre": plain(line.cost_centre),
        "model": line.model,
        "traffic_class": line.traffic_class,
        "meter": line.meter,
        "quantity": Measure.QUANTITY,
        "unit": SALES[Meter(line.meter)].unit,
        "unit_price": money(line.unit_price),
        "amount": Measure.AMOUNT,
        "currency": line.currency,
        "price_book": line.book,
        "version": str(line.book_version),
        "demo": "true" if line.demo else "false",
    }


def plain(text: str) -> str:
    """Text that a spreadsheet must not run: names are chosen by tenants."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def money(value: Decimal) -> str:
    """12 decimals and always a point, which tells readers that guess types a decimal."""
    return f"{value.quantize(PICO):f}"


@lru_cache(MANY)
def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
