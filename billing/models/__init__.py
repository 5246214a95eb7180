from billing.models.charges import Charge, ChargeDay, ChargeTotal, RatingRun, UnpricedUsage
from billing.models.costs import (
    Allocation,
    AllocationRun,
    CostDay,
    CostPool,
    GpuPrice,
    GpuPriceSheet,
)
from billing.models.exports import ExportArtifact, ExportJob, ExportSchedule
from billing.models.prices import Price, PriceBook, PriceBookVersion
from billing.models.usage import (
    HourHead,
    HourMark,
    UsageDay,
    UsageEvent,
    UsageHour,
    UsageQuarantine,
    UsageSeen,
)

__all__ = [
    "Allocation",
    "AllocationRun",
    "Charge",
    "ChargeDay",
    "ChargeTotal",
    "CostDay",
    "CostPool",
    "ExportArtifact",
    "ExportJob",
    "ExportSchedule",
    "GpuPrice",
    "GpuPriceSheet",
    "HourHead",
    "HourMark",
    "Price",
    "PriceBook",
    "PriceBookVersion",
    "RatingRun",
    "UnpricedUsage",
    "UsageDay",
    "UsageEvent",
    "UsageHour",
    "UsageQuarantine",
    "UsageSeen",
]
