"""The forecast of a tenant's month: days so far, what its contract owes, what whole months cost."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Sum

from billing.models import PrefixHour, Price, PriceBookVersion, UsageHour
from billing.queries.books import read_tariffs, terms_of
from billing.queries.charged import ChargeFilter, sum_days_of_use
from billing.queries.months import next_hour
from billing.rules.forecast import Forecast, forecast
from billing.rules.forecast_contract import Pool, grown, with_contract
from billing.rules.meters import BILLED, Meter, Usage, quantities, runs_on
from billing.rules.prices.terms import BY_MONTH, MONTHLY, Kind
from billing.rules.rating import Period
from billing.rules.tariffs import Priced, Tariff, version_of
from gateway.contract.outcomes import Outcome
from tenants.queries.directory import TenantRef
from tenants.rules.quotas import Month, month_of

ZERO = Decimal(0)
BEFORE = timedelta(weeks=8)  # what the forecast learns the week's rhythm from
# What meters are counted in, where that is not whole units.
STEPS = {Meter.GPU_SECOND: Decimal("0.001"), Meter.KEPT_PREFIX: Decimal("0.000001")}
Days = Mapping[date, Decimal]
TOKENS_BY_DAY = """
SELECT (hour AT TIME ZONE %s)::date, sum(prompt_tokens + completion_tokens) FROM usage_hour_head
WHERE tenant_id = %s AND hour >= %s AND hour < %s GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class BookName:
    """A published version that a tenant pays by at a moment."""

    slug: str
    number: int
    is_contract: bool


@dataclass(frozen=True, slots=True)
class MonthTerms:
    """What a month's prices are besides prices of units: its contract, and the books by name."""

    books: tuple[BookName, ...]  # the contract first
    tariff: Tariff  # only what is owed by the month
    pooled: bool  # something in it is priced by the whole month's quantity


def month_terms(tenant: TenantRef, month: Month, now: datetime) -> MonthTerms:
    """In the scope that is open. Of versions that hold in the month."""
    versions = [
        v
        for v in PriceBookVersion.objects.filter(
            published_at__isnull=False,
            effective__overlap=(month.starts_at, month.ends_at),
            book__currency=tenant.currency,
        ).select_related("book")
        if v.book.tenant_id in (None, tenant.id)
    ]
    versions.sort(key=lambda v: (v.book.tenant_id is None, v.number))
    lines: dict[int, dict[tuple[Priced, bool], Price]] = defaultdict(dict)
    kinds = [kind.value for kind in MONTHLY]
    for price in Price.objects.filter(book_version__in=versions, kind__in=kinds).order_by("id"):
        name = (price.model, price.meter, price.traffic_class, price.runs_on)
        lines[price.book_version_id][name, False] = price
    contract = [
        version_of(
            v.pk, v.book.currency, (v.effective.lower, v.effective.upper),
            {name: terms_of(price) for name, price in lines[v.pk].items()},
        )
        for v in versions
        if v.book.tenant_id and v.effective
    ]  # fmt: skip
    now_held = [v for v in versions if v.effective and v.effective.lower <= now and
                (v.effective.upper is None or now < v.effective.upper)]  # fmt: skip
    return MonthTerms(
        books=tuple(
            BookName(v.book.slug, v.number, v.book.tenant_id is not None) for v in now_held
        ),
        tariff=Tariff([], contract),
        pooled=any(
            Kind(price.kind) not in BY_MONTH for of in lines.values() for price in of.values()
        ),
    )


def read_forecast(tenant: TenantRef, now: datetime) -> Forecast | None:
    """Of the month that runs, in the scope that is open."""
    month = month_of(now, tenant.time_zone)
    wanted = ChargeFilter(month.starts_at - BEFORE, month.ends_at, tenant_id=tenant.id)
    use, account = sum_days_of_use(wanted, tenant.time_zone)
    terms = month_terms(tenant, month, now)
    return month_forecast(tenant, month, now, use=use, account=account, terms=terms)


def month_forecast(
    tenant: TenantRef, month: Month, now: datetime, *, use: Days, account: Days, terms: MonthTerms
) -> Forecast | None:
    """`use` and `account` by the tenant's day: for use, and what it owes as a whole."""
    zone = ZoneInfo(tenant.time_zone)
    today = now.astimezone(zone).date()
    first = today.replace(day=1)
    end = month.ends_at.astimezone(zone).date()
    done = {day: amount for day, amount in use.items() if first <= day <= today}
    found = ahead(use, today, end)
    if found and terms.pooled:
        tokens = token_forecast(tenant, month, now)
        if tokens and (tokens.so_far or not any(done.values())):
            found = grown(tokens, done, pools_of(tenant, month, now))
    if found is None:
        return None
    period = Period(next_hour(month.starts_at), next_hour(month.ends_at), seen_at=now)
    charged = sum((amount for day, amount in account.items() if first <= day <= today), ZERO)
    return with_contract(
        found, terms.tariff, period, done=done, charged=charged, zone=tenant.time_zone
    )


def ahead(days: Days, today: date, month_end: date) -> Forecast | None:
    return forecast(
        filled(days, until=today),
        today=today,
        today_so_far=days.get(today, ZERO),
        month_end=month_end,
    )


def filled(days: Days, *, until: date) -> dict[date, Decimal]:
    """Quiet days between the first charge and `until` as zeros: they are days as well."""
    if not days:
        return {}
    first = min(days)
    span = (first + timedelta(days=n) for n in range((until - first).days))
    return {day: days.get(day, ZERO) for day in span}


def token_forecast(tenant: TenantRef, month: Month, now: datetime) -> Forecast | None:
    """Of all its tokens, in and out, by the tenant's days: the month's use is counted by them."""
    zone = ZoneInfo(tenant.time_zone)
    with connection.cursor() as cursor:
        start, end = month.starts_at - BEFORE, month.ends_at
        cursor.execute(TOKENS_BY_DAY, [tenant.time_zone, tenant.id, start, end])
        days: dict[date, Decimal] = dict(cursor.fetchall())
    today = now.astimezone(zone).date()
    return ahead(days, today, month.ends_at.astimezone(zone).date())


def pools_of(tenant: TenantRef, month: Month, now: datetime) -> list[Pool]:
    """Quantities of the month that tiers, volumes and packages count, by the price of each."""
    tariff = read_tariffs([tenant])[tenant.id]
    found: dict[tuple[int, Priced], Pool] = {}
    for used in _used(tenant, month, now):
        for meter, quantity in quantities(used).items():
            place = used.model, meter, used.traffic_class, runs_on(used, meter)
            price = tariff.find(now, *place)
            if price and price.terms.kind in MONTHLY and quantity:
                key = (price.version.id, price.priced)
                before = found[key].quantity if key in found else ZERO
                step = STEPS.get(meter, Decimal(1))
                found[key] = Pool(price.terms, before + quantity, step)
    return list(found.values())


def _used(tenant: TenantRef, month: Month, now: datetime) -> Iterator[Usage]:
    """What is paid for of the month so far, and the prefixes that were kept in it."""
    wanted: dict[str, Any] = {
        "tenant_id": tenant.id, "hour__gte": month.starts_at, "hour__lt": month.ends_at
    }  # fmt: skip
    names = ("model", "traffic_class", "outcome", "hosted", "gpu_product")
    sums = (
        UsageHour.objects.filter(**wanted, outcome__in=list(BILLED))
        .values_list(*names)
        .annotate(
            Sum("requests"), Sum("prompt_tokens"), Sum("cached_tokens"), Sum("completion_tokens"),
            Sum("gpu_ms"),
        )
    )  # fmt: skip
    for model, traffic_class, outcome, hosted, product, *counted in sums:
        n, prompt, cached, completion, gpu_ms = map(int, counted)
        yield Usage(
            now, tenant.id, 0, model, traffic_class, outcome, n, prompt, cached, completion,
            gpu_ms, hosted, product,
        )  # fmt: skip
    kept = PrefixHour.objects.filter(**wanted).values_list("model").annotate(Sum("gib_hours"))
    for model, gib_hours in kept:
        of = now, tenant.id, 0, model, "", Outcome.SERVED
        yield Usage(*of, 0, 0, 0, 0, 0, kept_gib_hours=gib_hours)
