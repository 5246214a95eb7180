from billing.models.alerts import AlertSettings, BudgetAlert
from billing.models.anomalies import SpendAnomaly
from billing.models.charges import (
    Charge,
    ChargeDay,
    ChargeRelease,
    ChargeSum,
    ChargeTotal,
    RatingRun,
    UnpricedUsage,
)
from billing.models.confidence import (
    Arrival,
    EngineHour,
    GatewayHour,
    LimitedHour,
    ServiceHour,
    SourceHour,
)
from billing.models.costs import (
    Allocation,
    AllocationRun,
    CostDay,
    CostPool,
    GpuPrice,
    GpuPriceSheet,
    OtherCost,
)
from billing.models.deliveries import ExportAttempt, ExportDelivery, ExportDestination
from billing.models.events import EventDelivery, FinanceEvent, Webhook
from billing.models.exports import ExportArtifact, ExportJob, ExportSchedule, LedgerAccount
from billing.models.grants import CreditEntry, CreditGrant
from billing.models.invoices import CreditNote, CreditNoteLine, DocumentSeries, Invoice, InvoiceLine
from billing.models.journal import JournalLeg, JournalTxn
from billing.models.methods import CostMethod, WorkWeight
from billing.models.periods import BillingAccount, BillingPeriod, PeriodSignOff
from billing.models.prefixes import PrefixHour, PrefixReport
from billing.models.previews import PricePreview, PricePreviewLine
from billing.models.prices import Price, PriceBook, PriceBookVersion
from billing.models.quarantine import QuarantineDecision, QuarantineItem
from billing.models.rates import ExchangeRate
from billing.models.reconciliations import Reconciliation
from billing.models.reservations import GpuReservation
from billing.models.retention import ArchivedPart, DroppedDay, DroppedEstimate, DroppedPart
from billing.models.usage import (
    HourHead,
    HourMark,
    ModelDay,
    RatingMark,
    UsageDay,
    UsageEvent,
    UsageHour,
    UsageQuarantine,
    UsageSeen,
)

__all__ = [
    "ArchivedPart",
    "DroppedDay",
    "DroppedEstimate",
    "DroppedPart",
    "AlertSettings",
    "BudgetAlert",
    "EventDelivery",
    "FinanceEvent",
    "Webhook",
    "CreditEntry",
    "CreditGrant",
    "Arrival",
    "EngineHour",
    "GatewayHour",
    "SourceHour",
    "QuarantineDecision",
    "QuarantineItem",
    "LimitedHour",
    "ServiceHour",
    "ExportAttempt",
    "ExportDelivery",
    "ExportDestination",
    "LedgerAccount",
    "JournalLeg",
    "JournalTxn",
    "CreditNote",
    "CreditNoteLine",
    "DocumentSeries",
    "Invoice",
    "InvoiceLine",
    "BillingAccount",
    "BillingPeriod",
    "PeriodSignOff",
    "Allocation",
    "AllocationRun",
    "Charge",
    "ChargeDay",
    "ChargeRelease",
    "CostMethod",
    "WorkWeight",
    "ChargeSum",
    "ChargeTotal",
    "CostDay",
    "CostPool",
    "ExchangeRate",
    "ExportArtifact",
    "ExportJob",
    "ExportSchedule",
    "GpuPrice",
    "GpuPriceSheet",
    "GpuReservation",
    "OtherCost",
    "HourHead",
    "HourMark",
    "RatingMark",
    "ModelDay",
    "PrefixHour",
    "PrefixReport",
    "Price",
    "PriceBook",
    "PriceBookVersion",
    "PricePreview",
    "PricePreviewLine",
    "RatingRun",
    "Reconciliation",
    "SpendAnomaly",
    "UnpricedUsage",
    "UsageDay",
    "UsageEvent",
    "UsageHour",
    "UsageQuarantine",
    "UsageSeen",
]
