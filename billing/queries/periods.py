"""Billing periods, and the list of what must be green before one closes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from django.db.models import Count, F, Max, Q, QuerySet, Sum

from billing.models import (
    BillingPeriod,
    Charge,
    HourHead,
    HourMark,
    PeriodSignOff,
    PriceBookVersion,
    UnpricedUsage,
    UsageQuarantine,
)
from billing.queries.accounts import accounts_of
from billing.queries.billed import billed_currencies, invoiced_upto
from billing.queries.confidence import tenant_hours
from billing.queries.exchange import wanted_rates
from billing.queries.fees import unseen_fees
from billing.queries.visibility import visible_tenants
from billing.rules.periods import Check, CheckKey, PeriodState, Signed
from fleet.queries.services import service_names
from tenants.errors import Invalid, NotFound
from tenants.queries.directory import TenantRef, tenant_refs
from tenants.rules.access import Permission, Viewer

STATES = tuple(s.value for s in PeriodState)
MOST_NAMED = 3  # in the words of a check; the page of confidence lists all
UNSEEN = "There is nothing here, or it is not yours to see"


def list_periods(
    viewer: Viewer, *, tenant_id: int | None = None, state: str = ""
) -> QuerySet[BillingPeriod]:
    """Newest first."""
    tenants = visible_tenants(viewer, tenant_id)
    rows = BillingPeriod.objects.order_by("-starts_at", "-id")
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    if state and state not in STATES:
        raise Invalid(state=f"There is no state {state!r}; there are {', '.join(STATES)}")
    return rows.filter(state=state) if state else rows


def get_period(viewer: Viewer, period_id: int) -> BillingPeriod:
    period = BillingPeriod.objects.filter(pk=period_id).first()
    if period is None:
        raise NotFound(UNSEEN)
    viewer.require(Permission.VIEW_MONEY, period.tenant_id)
    return period


def earlier_open(period: BillingPeriod) -> str:
    """The name of the first period before this one that is not closed."""
    rows = BillingPeriod.objects.filter(
        tenant_id=period.tenant_id, starts_at__lt=period.starts_at
    ).exclude(state=PeriodState.CLOSED)
    first = rows.order_by("starts_at").first()
    return first.name if first else ""


def period_checks(
    viewer: Viewer, period: BillingPeriod, *, now: datetime, grace: timedelta
) -> list[Check]:
    """Each with its number, in the order in which usage becomes money. For the fleet's people."""
    viewer.require(Permission.VIEW_MONEY)
    signed = _signed(period)
    tenant = tenant_refs([period.tenant_id])[period.tenant_id]
    looks: tuple[Callable[[BillingPeriod], Check], ...] = (
        lambda p: _grace(p, now, grace),
        _rolled,
        lambda p: _rated(p, tenant, now),
        _ledger,
        _quarantine,
        _unpriced,
        lambda p: _confidence(viewer, p),
        lambda p: _exchange(p, tenant, now),
    )
    found = [look(period) for look in looks]
    return [replace(check, signed=signed.get(check.key.value)) for check in found]


def _signed(period: BillingPeriod) -> dict[str, Signed]:
    rows = PeriodSignOff.objects.filter(period=period).order_by("id")
    return {s.key: Signed(s.number, s.by, s.why, s.at, s.covers) for s in rows}


def _grace(period: BillingPeriod, now: datetime, grace: timedelta) -> Check:
    left = period.ends_at + grace - now
    hours = max(0, -(-left // timedelta(hours=1)))
    said = f"{hours} h left" if hours else f"over since {period.ends_at + grace:%Y-%m-%d %H:%M} UTC"
    way = f"Usage may still arrive until {period.ends_at + grace:%Y-%m-%d %H:%M} UTC: wait"
    return Check(CheckKey.GRACE, "Grace after the end", hours, said, way)


def _rolled(period: BillingPeriod) -> Check:
    count = HourMark.objects.filter(**_of(period)).count()
    way = "They are summed up within seconds; if not, look at the worker"
    return Check(CheckKey.ROLLED, "Hours to sum up", count, f"{count} wait", way)


def _rated(period: BillingPeriod, tenant: TenantRef, now: datetime) -> Check:
    """Prices that were published and that no rating applied yet will make hours wait, and so will
    fees and minima that became due since the last one."""
    count = HourHead.objects.filter(~Q(version=F("rated_version")), **_of(period)).count()
    count += unseen_fees(period, tenant, now)
    prices = [f"{book} v{number}" for book, number in _unapplied(period, tenant)]
    said = f"{count} wait" + (f"; prices not applied yet: {', '.join(prices)}" if prices else "")
    way = "They are rated within a minute; if not, look at the worker"
    return Check(CheckKey.RATED, "Hours to rate", count + len(prices), said, way)


def _unapplied(
    period: BillingPeriod, tenant: TenantRef
) -> QuerySet[PriceBookVersion, tuple[str, int]]:
    """Books and numbers of versions that change what hours of the period are charged: those after
    the end of a contract as well, where it took the place of one that held for them."""
    own = Q(book__tenant_id=tenant.id) | Q(book__tenant_id=None, book__currency=tenant.currency)
    rows = PriceBookVersion.objects.filter(
        own,
        published_at__isnull=False,
        applied_at=None,
        effective__startswith__lt=period.ends_at,
    )
    return rows.order_by("id").values_list("book__slug", "number")


def _ledger(period: BillingPeriod) -> Check:
    charged = Charge.objects.filter(**_of(period)).aggregate(s=Sum("amount"))["s"] or 0
    rated = HourHead.objects.filter(**_of(period)).aggregate(s=Sum("amount"))["s"] or 0
    said = f"{charged:f} charged, {rated:f} rated"
    way = "Run manage.py billing check: it names what was lost"
    return Check(CheckKey.LEDGER, "Charges against hours", int(charged != rated), said, way)


def _quarantine(period: BillingPeriod) -> Check:
    whose = Q(tenant_id=period.tenant_id) | Q(tenant_id=None)  # an unknown tenant may be this one
    rows = UsageQuarantine.objects.filter(whose, received_at__gte=period.starts_at)
    count, newest = rows.aggregate(n=Count("id"), newest=Max("id")).values()
    way = "Take or drop each event, or sign off that they wait"
    items = {"newest event": -float(newest)} if newest else {}
    return Check(
        CheckKey.QUARANTINE, "Events in quarantine", count, f"{count} wait", way, items=items
    )


def _unpriced(period: BillingPeriod) -> Check:
    kinds = ("model", "application_id", "traffic_class", "meter", "runs_on")
    rows = UnpricedUsage.objects.filter(**_of(period)).values_list(*kinds)
    sums = list(rows.annotate(Count("id"), Sum("quantity")).order_by(*kinds))
    count = sum(number for *_, number, _ in sums)
    models = list(dict.fromkeys(model for model, *_ in sums))[:MOST_NAMED]
    said = f"{count} rows" + (f": {', '.join(models)}" if models else "")
    way = "Publish a price for them, or sign off that they are not billed"
    items = {"/".join(map(str, kind)): -float(quantity) for *kind, _, quantity in sums}
    return Check(CheckKey.UNPRICED, "Usage without a price", count, said, way, items=items)


def _confidence(viewer: Viewer, period: BillingPeriod) -> Check:
    """The hours that this tenant used and whose figures cannot be trusted, each for itself."""
    used = tenant_hours(viewer, period.tenant_id, period.starts_at, period.ends_at)
    bad = [h for h in used if h.state != "within"]
    unknown = sum(h.state == "unknown" for h in bad)
    said = f"{len(bad)} of {len(used)} used hours of services below the threshold or not known"
    if bad:
        names = service_names(viewer)
        worst = sorted(bad, key=lambda h: (h.figure is None, h.figure or 0.0, h.hour))
        said += ": " + "; ".join(
            f"{h.hour:%Y-%m-%d %H:00} {names.get(h.service_id, _unnamed(h.service_id))} ({h.why})"
            for h in worst[:MOST_NAMED]
        )
        if len(bad) > MOST_NAMED:
            said += f"; and {len(bad) - MOST_NAMED:,} more"
        said += f"; {unknown:,} not known" if unknown else ""
    way = "Look at these hours and at gateways that were down, or sign them off"
    items = {h.key: h.figure or 0.0 for h in bad}
    return Check(CheckKey.CONFIDENCE, "Confidence by hour", len(bad), said, way, items=items)


def _unnamed(service_id: int) -> str:
    return f"service {service_id}" if service_id else "no service"


def _exchange(period: BillingPeriod, tenant: TenantRef, now: datetime) -> Check:
    """Charges in another currency than the account's need a rate of the day of the cut-off."""
    account = accounts_of([tenant])[tenant.id]
    currencies = billed_currencies(period, after=invoiced_upto(period))
    wanted = wanted_rates(period, account, currencies, now)
    missing = [w for w in wanted if w.found is None]
    said = "; ".join(w.said for w in missing or wanted) or f"every charge is in {account.currency}"
    way = ". ".join(w.way_out for w in missing)
    return Check(CheckKey.EXCHANGE, "Exchange rates", len(missing), said, way)


def _of(period: BillingPeriod) -> dict[str, int | datetime]:
    return {
        "tenant_id": period.tenant_id,
        "hour__gte": period.starts_at,
        "hour__lt": period.ends_at,
    }
