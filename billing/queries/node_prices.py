"""Sheets of node prices and their lines, with the rates that follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import QuerySet, Sum

from billing.models import CostPool, GpuPrice, GpuPriceSheet
from billing.rules.allocation import UNUSED
from billing.rules.node_prices import NodeLine, PayKind, Rate
from tenants.errors import NotFound
from tenants.queries.changes import Decision, decision_of
from tenants.rules.access import Permission, Viewer

LATELY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SheetLine:
    """A line as it is kept: the rate is the stored one, computed when it was written."""

    price_id: int
    line: NodeLine
    rate: Rate


@dataclass(frozen=True, slots=True)
class Sheet:
    number: int
    state: str  # draft, proposed, waiting, current, past, replaced
    currency: str
    starts_at: datetime | None
    ends_at: datetime | None
    created_at: datetime
    created_by: str
    why: str
    change_id: int | None
    version: int
    etag: str
    lines: tuple[SheetLine, ...]


@dataclass(frozen=True, slots=True)
class LineChange:
    """One line in two sheets; None where one of them has no line for these nodes."""

    line: NodeLine
    was: SheetLine | None
    will: SheetLine | None
    change: str  # same, new, gone, dearer, cheaper, other


@dataclass(frozen=True, slots=True)
class SeenNodes:
    """GPU time of the last day on nodes that are paid alike; `hourly` None: without a price."""

    cluster: str
    node_pool: str
    capacity: str
    product: str
    profile: str
    gpu_ms: int
    hourly: Decimal | None

    @property
    def gpu_hours(self) -> Decimal:
        return Decimal(self.gpu_ms) / 3_600_000


def lines_of(sheet: GpuPriceSheet) -> list[SheetLine]:
    """By product, then from every node to some."""
    rows = sorted(sheet.prices.all(), key=lambda p: (p.product, p.cluster, p.node_pool, p.capacity))
    return [SheetLine(row.pk, read_line(row), read_rate(row)) for row in rows]


def read_line(row: GpuPrice) -> NodeLine:
    terms = {name: Decimal(value) for name, value in row.terms.items()}
    return NodeLine(
        row.product,
        PayKind(row.kind),
        terms or {"hourly": row.hourly},
        row.cluster,
        row.node_pool,
        row.capacity,
    )


def read_rate(row: GpuPrice) -> Rate:
    parts = tuple((name, Decimal(value)) for name, value in row.parts.items())
    return Rate(row.hourly, parts or (("hourly", row.hourly),))


def list_sheets(viewer: Viewer) -> QuerySet[GpuPriceSheet]:
    """Newest first, drafts among them."""
    viewer.require(Permission.VIEW_MONEY)
    return GpuPriceSheet.objects.prefetch_related("prices").order_by("-id")


def list_published(viewer: Viewer) -> QuerySet[GpuPriceSheet]:
    return list_sheets(viewer).filter(effective__isnull=False)


def find_sheet(viewer: Viewer, number: int) -> GpuPriceSheet:
    found = list_sheets(viewer).filter(number=number).first()
    if found is None:
        raise NotFound(f"There is no sheet {number} of GPU prices")
    return found


def get_sheet(viewer: Viewer, number: int, *, now: datetime) -> Sheet:
    return shown(find_sheet(viewer, number), now)


def current_sheet(viewer: Viewer, *, now: datetime) -> Sheet | None:
    found = list_sheets(viewer).filter(effective__contains=now).first()
    return shown(found, now) if found else None


def shown(row: GpuPriceSheet, now: datetime) -> Sheet:
    span = row.effective
    return Sheet(
        number=row.number,
        state=state_of(row, now),
        currency=row.currency,
        starts_at=span.lower if span else None,
        ends_at=span.upper if span else None,
        created_at=row.created_at,
        created_by=row.created_by,
        why=row.why,
        change_id=row.change_id,
        version=row.version,
        etag=row.etag,
        lines=tuple(lines_of(row)),
    )


def state_of(row: GpuPriceSheet, now: datetime) -> str:
    span = row.effective
    if span is None:
        return "proposed" if row.change_id else "draft"
    if span.isempty:
        return "replaced"
    if span.lower is not None and now < span.lower:
        return "waiting"
    return "current" if span.upper is None or now < span.upper else "past"


def proposal_of(viewer: Viewer, sheet: Sheet) -> Decision | None:
    """The request to publish that a sheet waits for."""
    viewer.require(Permission.VIEW_MONEY)
    waits = sheet.state == "proposed" and sheet.change_id is not None
    return decision_of(sheet.change_id or 0) if waits else None


def line_changes(old: Sheet | None, new: Sheet) -> list[LineChange]:
    """Each line of either sheet, in the order of the new one."""
    before = {one.line.scope: one for one in old.lines} if old else {}
    after = {one.line.scope: one for one in new.lines}
    rows = [
        LineChange(o.line, before.get(k), o, _change(before.get(k), o)) for k, o in after.items()
    ]
    gone = [LineChange(o.line, o, None, "gone") for k, o in before.items() if k not in after]
    return rows + gone


def _change(was: SheetLine | None, will: SheetLine) -> str:
    if was is None:
        return "new"
    if was.rate.hourly == will.rate.hourly:
        return "same" if was.line == will.line else "other"
    return "dearer" if will.rate.hourly > was.rate.hourly else "cheaper"


def seen_nodes(viewer: Viewer, *, now: datetime) -> Sequence[SeenNodes]:
    """What lines are for: the nodes whose GPU time was attributed in the last day."""
    viewer.require(Permission.VIEW_MONEY)
    rows = (
        CostPool.objects.filter(run__is_current=True, hour__gte=now - LATELY)
        .exclude(state=UNUSED)
        .values_list("cluster", "node_pool", "capacity", "product", "profile")
        .annotate(ms=Sum("gpu_ms"), at=Sum("cost") * 3_600_000 / Sum("gpu_ms"))
        .order_by("cluster", "node_pool", "capacity", "product", "profile")
    )
    return [SeenNodes(*row) for row in rows]
