"""FOCUS CostAndUsage of what the fleet costs, split to who caused it.

Revenue and cost are two questions: these rows are never in one file with charges. An origin is GPU
time of one kind in one hour, or what a line of the other costs comes to in a month; each of its
shares is a row, and its rows add up to it in cost, quantity and ratio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from billing.rules.allocation import IDLE, OVERHEAD, TENANT, split
from billing.rules.focus import (
    COLUMNS,
    COSTS,
    EMPTY,
    ISSUERS,
    PRICED_UNIT_PRICES,
    UNIT_PRICES,
    Row,
    money,
    plain,
    stamp,
    written,
)

UNALLOCATED = "unallocated"
KINDS = (TENANT, IDLE, OVERHEAD, UNALLOCATED)
OWN = (
    *("x_AllocationKind", "x_ApplicationId", "x_CostCentre", "x_ModelName", "x_OriginId"),
    *("x_Release", "x_TenantId"),
)
COST_COLUMNS = {
    version: (*(n for n in names if not n.startswith("x_")), *OWN)
    for version, names in COLUMNS.items()
}
COST_VERSIONS = {f"focus-{version}-cost": version for version in COLUMNS}
NOBODY = dict.fromkeys(OWN, "")


class OriginKind(StrEnum):
    GPUS = "gpus"
    PLATFORM = "platform"
    HOSTED = "hosted"


SERVICES = {
    OriginKind.GPUS: ("GPU Fleet", "GPU Pool"),
    OriginKind.PLATFORM: ("Shared Platform", "Platform Cost"),
    OriginKind.HOSTED: ("Hosted Models", "Provider Bill"),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Price x quantity is the cost, but for what rounding at 12 and 6 decimals leaves."""

    id: str
    kind: OriginKind
    name: str
    starts_at: datetime
    ends_at: datetime
    period_start: datetime
    period_end: datetime
    currency: str
    cost: Decimal
    quantity: Decimal  # 6 decimals
    unit: str
    unit_price: Decimal
    sku: str
    price_id: str
    details: tuple[tuple[str, str], ...]
    method: str
    pricing: str = "Standard"
    region: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True)
class CostShare:
    """`used`: what decided the share, in `used_unit`."""

    kind: str
    amount: Decimal
    used: Decimal
    used_unit: str
    tenant: str = ""
    tenant_name: str = ""
    application_id: int = 0
    application: str = ""
    cost_centre: str = ""
    model: str = ""
    release: str = ""


def cost_rows(origin: Origin, shares: Sequence[CostShare], issuer: str) -> list[Row]:
    """All columns of every version, a row for each share."""
    weights = weights_of(shares)
    ratios, quantities = split(Decimal(1), weights), _parts(origin.quantity, weights)
    of_origin = _origin_cells(origin, issuer)
    return [
        of_origin | _share_cells(origin, share, ratio, quantity)
        for share, ratio, quantity in zip(shares, ratios, quantities, strict=True)
    ]


def weights_of(shares: Sequence[CostShare]) -> list[int]:
    """What the origin is split by: the amounts, or the use of what cost nothing."""
    for weights in ([abs(s.amount) for s in shares], [s.used for s in shares]):
        units = [int(w.scaleb(12)) for w in weights]
        if sum(units):
            return units
    return [1, *[0] * (len(shares) - 1)]


def _parts(quantity: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """At 6 decimals."""
    millionths = split(abs(quantity).scaleb(-6), weights)
    return [part.scaleb(6).copy_sign(quantity) if part else part for part in millionths]


def _origin_cells(origin: Origin, issuer: str) -> Row:
    """What each share has as the origin has it."""
    service, resource_type = SERVICES[origin.kind]
    is_used = origin.kind is OriginKind.GPUS
    return EMPTY | {
        **dict.fromkeys(ISSUERS, issuer),
        **dict.fromkeys((*UNIT_PRICES, *PRICED_UNIT_PRICES), money(origin.unit_price)),
        "AllocatedMethodId": origin.method,
        "AvailabilityZone": origin.zone,
        "BillingAccountId": "fleet",
        "BillingAccountName": issuer,
        "BillingAccountType": "Fleet",
        "BillingCurrency": origin.currency,
        "BillingPeriodEnd": stamp(origin.period_end),
        "BillingPeriodStart": stamp(origin.period_start),
        "ChargeCategory": "Usage" if is_used else "Purchase",
        "ChargeClass": "Correction" if origin.quantity < 0 else "",
        "ChargeDescription": plain(origin.name),
        "ChargeFrequency": "Usage-Based" if is_used else "Recurring",
        "ChargePeriodEnd": stamp(origin.ends_at),
        "ChargePeriodStart": stamp(origin.starts_at),
        "ConsumedUnit": origin.unit if is_used else "",
        "PricingCategory": origin.pricing,
        "PricingCurrency": origin.currency,
        "PricingUnit": origin.unit,
        "RegionId": origin.region,
        "RegionName": origin.region,
        "ResourceId": origin.id,
        "ResourceName": plain(origin.name),
        "ResourceType": resource_type,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": service,
        "ServiceSubcategory": "Generative AI",
        "SkuId": origin.sku,
        "SkuMeter": "GPU time" if is_used else "Time",
        "SkuPriceDetails": written(*origin.details),
        "SkuPriceId": origin.price_id,
        "Tags": "{}",
    }


def _share_cells(origin: Origin, share: CostShare, ratio: Decimal, quantity: Decimal) -> Row:
    text = f"{quantity:.6f}"
    element = (
        f'{{"AllocatedRatio":{ratio:.12f},"UsageUnit":"{share.used_unit}",'
        f'"UsageQuantity":{share.used:.6f}}}'
    )
    resource, name, tags = _allocated(share)
    return {
        **dict.fromkeys(COSTS, money(share.amount)),
        "AllocatedMethodDetails": f'{{"Elements":[{element}]}}',
        "AllocatedResourceId": resource,
        "AllocatedResourceName": plain(name),
        "AllocatedTags": written(*tags),
        "ConsumedQuantity": text if origin.kind is OriginKind.GPUS else "",
        "PricingQuantity": text,
        **NOBODY,
        "x_AllocationKind": share.kind,
        "x_ApplicationId": f"application-{share.application_id}" if share.application_id else "",
        "x_CostCentre": plain(share.cost_centre),
        "x_ModelName": share.model,
        "x_OriginId": origin.id,
        "x_Release": share.release,
        "x_TenantId": f"tenant-{share.tenant}" if share.tenant else "",
    }


def _allocated(share: CostShare) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Id, name and tags of what the share is of."""
    place = f"/service/{share.model}" if share.model else ""
    if share.kind != TENANT:
        return share.kind + place, share.kind.capitalize(), (("allocation", share.kind),)
    application = f"/application-{share.application_id}" if share.application_id else ""
    names = (share.tenant_name, share.application, share.model)
    tags = (
        *(("tenant", share.tenant), ("application", share.application)),
        *(("cost_centre", share.cost_centre), ("service", share.model)),
        ("release", share.release),
    )
    resource = f"tenant-{share.tenant}{application}{place}"
    return resource, ", ".join(filter(None, names)), tuple(t for t in tags if t[1])
