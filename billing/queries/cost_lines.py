"""The fleet's bill as origins with their shares, for files: GPU time by hour, then other costs."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Prefetch

from billing.models import Allocation, AllocationRun, CostPool
from billing.queries.charged import ChargeFilter
from billing.queries.other_costs import OtherPart, other_parts
from billing.rules.allocation import TENANT
from billing.rules.focus import PICO
from billing.rules.focus_costs import UNALLOCATED, CostShare, Origin, OriginKind
from billing.rules.node_prices import PayKind
from billing.rules.other_costs import OTHER_METHOD
from fleet.queries.inventory import observed_hours
from fleet.queries.regions import NOWHERE, cluster_places
from tenants.queries.directory import application_refs, tenant_refs
from tenants.rules.quotas import Month, month_of

CHUNK = 1_000
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
HOUR_US = Decimal(3_600_000_000)
SECONDS, HOURS = "GPU-Seconds", "Hours"
MICRO = Decimal("0.000001")
ZERO = Decimal(0)
Found = tuple[Origin, list[CostShare], int]  # and the run that it is of


def read_origins(wanted: ChargeFilter) -> Iterator[Found]:
    """Of all tenants, whoever is asked for: the rest of an origin decides a share as well."""
    reader = Reader()
    month: Month | None = None
    known = Attributed()
    for pool in _pools(wanted):
        if month is None or not month.starts_at <= pool.hour < month.ends_at:
            yield from reader.other(month, known)
            month, known = month_of(pool.hour, "UTC"), Attributed()
        shares = reader.shares(pool)
        known.add(pool, shares)
        yield reader.origin(pool, month), [share for _, share in shares], pool.run_id
    yield from reader.other(month, known)


def _pools(wanted: ChargeFilter) -> Iterator[CostPool]:
    """What nobody gave a price is in no sum, as on the pages. Runs and shares are never changed,
    so one statement says which of them are the file's."""
    rows = CostPool.objects.filter(
        run__is_current=True, hour__gte=wanted.start, hour__lt=wanted.end, cost__isnull=False
    )
    shares = Prefetch("shares", Allocation.objects.order_by("id"))
    rows = rows.select_related("run", "price").prefetch_related(shares)
    return rows.order_by("hour", "id").iterator(CHUNK)


def cost_complete_until(wanted: ChargeFilter, now: datetime) -> datetime:
    """The first hour that was observed and is not wholly attributed; else the running one."""
    running = now.replace(minute=0, second=0, microsecond=0)
    end = min(running, wanted.end)
    runs = AllocationRun.objects.filter(is_current=True, hour__gte=wanted.start, hour__lt=end)
    whole = {h for h, at in runs.values_list("hour", "finished_at") if at >= h + HOUR}
    return next((h for h in observed_hours(wanted.start, end) if h not in whole), running)


@dataclass
class Attributed:
    """By currency, the hours of a month and what each tenant used GPUs for in them."""

    hours: dict[str, set[datetime]] = field(default_factory=lambda: defaultdict(set))
    direct: dict[str, dict[int, Decimal]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Decimal))
    )
    currency: str = ""  # of the newest run

    def add(self, pool: CostPool, shares: list[tuple[int, CostShare]]) -> None:
        self.currency = pool.run.currency
        self.hours[self.currency].add(pool.hour)
        for tenant_id, share in shares:
            if share.kind == TENANT:
                self.direct[self.currency][tenant_id] += share.amount


class Reader:
    def __init__(self) -> None:
        self._tenants, self._applications = tenant_refs(), application_refs()
        self._places = cluster_places()

    def origin(self, pool: CostPool, month: Month) -> Origin:
        assert pool.cost is not None and pool.hourly is not None
        place = self._places.get(pool.cluster, NOWHERE)
        kind = pool.price.kind if pool.price else ""
        pool_of = filter(None, (pool.cluster, pool.node_pool, pool.product, pool.profile))
        details = (
            *(("x_GpuProduct", pool.product), ("x_Cluster", pool.cluster)),
            *(("x_NodePool", pool.node_pool), ("x_Capacity", pool.capacity)),
            *(("x_GpuProfile", pool.profile), ("x_State", pool.state), ("x_PayKind", kind)),
        )
        return Origin(
            id=f"gpu-pool/{pool.pk}",
            kind=OriginKind.GPUS,
            name=f"{' '.join(pool_of)}, {pool.state}",
            starts_at=pool.hour,
            ends_at=pool.hour + HOUR,
            period_start=month.starts_at,
            period_end=month.ends_at,
            currency=pool.run.currency,
            cost=pool.cost,
            quantity=Decimal(pool.gpu_ms).scaleb(-3),
            unit=SECONDS,
            unit_price=(pool.hourly / 3600).quantize(PICO),
            sku=f"gpu/{pool.product}",
            price_id=f"gpu-prices-{pool.run.sheet_id}/{pool.price_id or pool.product}",
            details=tuple(pair for pair in details if pair[1]),
            method=pool.run.method,
            pricing="Dynamic" if kind == PayKind.SPOT else "Standard",
            region=place.region,
            zone=place.zone,
        )

    def shares(self, pool: CostPool) -> list[tuple[int, CostShare]]:
        return [(row.tenant_id or 0, self._of_row(row)) for row in pool.shares.all()]

    def _of_row(self, row: Allocation) -> CostShare:
        return CostShare(
            kind=row.kind,
            amount=row.amount,
            used=Decimal(row.weight).scaleb(-3),
            used_unit=SECONDS,
            model=row.model,
            release=row.release,
            **self._who(row.tenant_id or 0, row.application_id or 0),
        )

    def _who(self, tenant_id: int, application_id: int = 0) -> dict[str, Any]:
        """Of nobody: nothing."""
        tenant = self._tenants.get(tenant_id)
        application = self._applications.get(application_id)
        found: dict[str, Any] = {}
        if tenant:
            found |= {"tenant": tenant.slug, "tenant_name": tenant.name}
        if application:
            found |= {
                "application_id": application.id,
                "application": application.slug,
                "cost_centre": application.cost_centre,
            }
        return found

    def other(self, month: Month | None, known: Attributed) -> Iterator[Found]:
        """What the other costs come to in the hours of a month whose GPU cost is known."""
        if month is None:
            return
        hours, direct = known.hours[known.currency], known.direct[known.currency]
        for part in other_parts(sorted(hours), direct):
            yield self._of_part(part, month), self._bearers(part, known.currency), 0

    def _of_part(self, part: OtherPart, month: Month) -> Origin:
        line = part.line
        whole = Decimal((line.ends_at - line.starts_at) // MICROSECOND) / HOUR_US
        time = sum(((end - start) for start, end in part.spans), timedelta())
        hours = (Decimal(time // MICROSECOND) / HOUR_US).quantize(MICRO)
        return Origin(
            id=f"other-cost/{part.id}/{month.name}",
            kind=OriginKind(line.kind),
            name=line.name,
            starts_at=part.spans[0][0].replace(microsecond=0),
            ends_at=_next_second(part.spans[-1][1]),
            period_start=month.starts_at,
            period_end=month.ends_at,
            currency=line.currency,
            cost=part.amount,
            quantity=hours.copy_sign(part.amount),
            unit=HOURS,
            unit_price=abs(line.amount / whole).quantize(PICO),
            sku=f"{line.kind}/{line.model or 'all'}",
            price_id=f"other-cost/{part.id}",
            details=(("x_ModelName", line.model),) if line.model else (),
            method=OTHER_METHOD,
        )

    def _bearers(self, part: OtherPart, currency: str) -> list[CostShare]:
        unit = "Tokens" if part.by_tokens else currency
        found = [
            CostShare(
                kind=TENANT,
                amount=amount,
                used=part.weights[tenant_id],
                used_unit=unit,
                model=part.line.model,
                **self._who(tenant_id),
            )
            for tenant_id, amount in sorted(part.spread.parts.items())
        ]
        if part.spread.unallocated or not found:
            found.append(CostShare(UNALLOCATED, part.spread.unallocated, ZERO, unit))
        return found


def _next_second(at: datetime) -> datetime:
    """Files have whole seconds: what is shorter than one would end as it begins."""
    return at.replace(microsecond=0) + timedelta(seconds=bool(at.microsecond))
