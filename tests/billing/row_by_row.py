"""The rows of a FOCUS file one by one, in plain Python: slow, and what the batches must equal.

Read from the tables as they are; of the code that writes files only the list of columns is used.
"""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from zoneinfo import ZoneInfo

from billing.models import BillingPeriod, Charge, Invoice, Price
from billing.rules.focus import COLUMNS
from tenants.models import Application, Tenant

PICO = Decimal("0.000000000001")
WIDE = Context(prec=100, rounding=ROUND_HALF_UP)
TOKENS = {
    "prompt": "Prompt tokens",
    "cached": "Cached prompt tokens",
    "completion": "Completion tokens",
}
LABELS = TOKENS | {
    "request": "Requests", "gpu_second": "GPU time", "kept_prefix": "Kept prefixes",
    "fee": "Monthly fee", "commitment": "Minimum commitment",
}  # fmt: skip
UNITS = dict.fromkeys(TOKENS, "Tokens") | {
    "request": "Requests", "gpu_second": "GPU-Seconds", "kept_prefix": "GiB-Hours",
    "fee": "Months", "commitment": "Months",
}  # fmt: skip


def focus_rows(start, end, issuer):
    """All columns of what is billed in the range; without taxes, rounding and credits."""
    return [as_row(key, sums, issuer) for key, sums in added_up(start, end)]


def own_rows(start, end):
    return [
        own_row(key, sums)
        for key, sums in added_up(start, end, lambda c: start <= c.hour < end, billed=False)
    ]


def added_up(start, end, is_wanted=None, *, billed=True):
    """Charges of one hour and key, in the order of the file."""
    periods = [p for p in BillingPeriod.objects.all() if p.ends_at > start and p.starts_at < end]
    invoices = list(Invoice.objects.defer("pdf", "snapshot"))
    found = defaultdict(list)
    for c in Charge.objects.select_related("correction_period", "book_version__book"):
        of = c.correction_period
        inside = start <= c.hour < end if of is None else of in periods and of.starts_at >= start
        if not (is_wanted(c) if is_wanted else inside):
            continue
        mine = [p for p in periods if p.tenant_id == c.tenant_id]
        period = of or next((p for p in mine if p.starts_at <= c.hour < p.ends_at), None)
        of_period = [i for i in invoices if period and i.period_id == period.pk]
        on = [
            i for i in of_period
            if i.priced_in == c.currency and i.after_charge < c.pk <= i.upto_charge
        ]  # fmt: skip
        late = of is not None or any(c.pk > i.upto_charge for i in of_period[:1])
        documents = (period, on[0] if on else None, late) if billed else (None, None, False)
        found[sort_key(c, documents)].append((c, documents))
    for _, group in sorted(found.items(), key=lambda item: item[0]):
        charges = [c for c, _ in group]
        if quantity := sum(c.quantity for c in charges):
            amount, run = sum(c.amount for c in charges), max(c.run_id for c in charges)
            yield (charges[0], group[0][1]), (quantity, amount, run)


def sort_key(c, documents):
    period, invoice, late = documents
    return (
        c.hour, c.tenant_id, c.application_id, c.model, c.traffic_class, c.meter, c.unit_price,
        c.book_version_id, period.pk if period else 0, invoice.pk if invoice else 0, late,
        c.runs_on,
    )  # fmt: skip


def month_at(tenant, hour):
    zone = ZoneInfo(tenant.time_zone)
    here = hour.astimezone(zone)
    first = datetime(here.year, here.month, 1, tzinfo=zone)
    after = (first + timedelta(days=32)).replace(day=1)
    return f"{here:%Y-%m}", first, after.replace(hour=0)


def span_of(tenant, hour):
    for p in BillingPeriod.objects.filter(tenant_id=tenant.pk):
        if p.starts_at <= hour < p.ends_at:
            return p.name, p.starts_at, p.ends_at
    return month_at(tenant, hour)


def as_row(key, sums, issuer):
    (c, (period, invoice, late)), (quantity, amount, run) = key, sums
    tenant = Tenant.objects.get(pk=c.tenant_id)
    month, first, after = span_of(tenant, c.hour)
    billing = (period.name, period.starts_at, period.ends_at) if period else (month, first, after)
    rate = invoice.rate if invoice else Decimal(1)
    cost, price = text(converted(amount, rate)), text(converted(c.unit_price, rate))
    book = f"{c.book_version.book.slug}-{c.book_version.number}"
    place = f", on {c.runs_on}" if c.runs_on else ""
    sku = f"{c.model or 'account'}/{c.meter}" + (f"/{c.runs_on}" if c.runs_on else "")
    row = dict.fromkeys({name for names in COLUMNS.values() for name in names}, "")
    row |= dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost)
    row |= dict.fromkeys(("ContractedUnitPrice", "ListUnitPrice"), price)
    row |= {f"PricingCurrency{n}UnitPrice": text(c.unit_price) for n in ("Contracted", "List")}
    row |= {"PricingCurrencyEffectiveCost": text(amount), "PricingCurrency": c.currency}
    parties = ("InvoiceIssuerName", "ServiceProviderName", "HostProviderName")
    row |= dict.fromkeys((*parties, "ProviderName", "PublisherName"), issuer)
    row |= {
        "BillingCurrency": invoice.currency if invoice else c.currency,
        "BillingPeriodStart": at(billing[1]), "BillingPeriodEnd": at(billing[2]),
        "ChargeClass": "Correction" if late else "",
        "ChargeDescription": LABELS[c.meter] + (f", {c.model}" if c.model else "") + place,
        "ChargePeriodStart": at(c.hour), "ChargePeriodEnd": at(c.hour + timedelta(hours=1)),
        "InvoiceId": invoice.number if invoice else "",
        "InvoiceDetailId": detail(invoice, c, "" if billing[1] == first else month),
        "PricingCategory": "Standard", "PricingQuantity": f"{quantity:.6f}",
        "PricingUnit": UNITS[c.meter], "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "LLM Serving", "ServiceSubcategory": "Generative AI",
        "SkuId": sku, "SkuMeter": LABELS[c.meter], "SkuPriceId": f"{book}/{sku}",
        "x_Demo": str(tenant.demo).lower(), "x_IsRounding": "false", "x_PriceBookVersion": book,
        "x_RatingRunId": f"run-{run}", "x_TrafficClass": c.traffic_class,
    }  # fmt: skip
    return row | payer(c, tenant) | sale(c, row, first, after)


def payer(c, tenant):
    app = Application.objects.filter(pk=c.application_id).first()
    row = {
        "BillingAccountId": f"tenant-{tenant.slug}", "BillingAccountName": safe(tenant.name),
        "BillingAccountType": "Tenant", "Tags": "{}",
    }  # fmt: skip
    if app is None:
        return row
    row |= {"SubAccountId": f"application-{app.pk}", "SubAccountName": safe(app.name)}
    row["SubAccountType"] = "Application"
    if app.cost_centre:
        row["Tags"] = json.dumps({"cost_centre": app.cost_centre})
    return row


def sale(c, row, first, after):
    found = {"SkuPriceDetails": "{}"}
    if c.model:
        found |= {"ResourceId": f"service/{c.model}", "ResourceName": c.model}
        found["ResourceType"] = "Model Service"
    if c.meter in ("fee", "commitment"):
        whole = {"ChargePeriodStart": at(first), "ChargePeriodEnd": at(after)}
        return found | whole | {"ChargeCategory": "Purchase", "ChargeFrequency": "Recurring"}
    details = {"x_ModelName": c.model}
    if c.traffic_class:
        details["x_TrafficClass"] = c.traffic_class
    if c.meter in TOKENS:
        details["x_TokenType"] = c.meter
    if c.runs_on:
        details["x_RunsOn"] = c.runs_on
    found["SkuPriceDetails"] = json.dumps(details)
    packages = Price.objects.filter(
        kind="package", book_version=c.book_version_id, model=c.model, meter=c.meter
    )
    rest = "" if c.meter == "gpu_second" else "hosted"
    packages = packages.filter(runs_on__in=(c.runs_on, rest) if c.runs_on else ("",))
    if packages.filter(traffic_class__in=("", c.traffic_class)).exists():
        return found | {"ChargeCategory": "Purchase", "ChargeFrequency": "One-Time"}
    used = {"ConsumedQuantity": row["PricingQuantity"], "ConsumedUnit": row["PricingUnit"]}
    return found | used | {"ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based"}


def own_row(key, sums):
    (c, _), (quantity, amount, _) = key, sums
    tenant = Tenant.objects.get(pk=c.tenant_id)
    app = Application.objects.filter(pk=c.application_id).first()
    return {
        "hour": at(c.hour), "tenant": tenant.slug, "application": app.slug if app else "",
        "cost_centre": safe(app.cost_centre) if app else "", "model": c.model,
        "traffic_class": c.traffic_class, "meter": c.meter, "quantity": f"{quantity:.6f}",
        "unit": UNITS[c.meter], "unit_price": text(c.unit_price), "amount": text(amount),
        "currency": c.currency, "price_book": c.book_version.book.slug,
        "version": str(c.book_version.number), "demo": str(tenant.demo).lower(),
    }  # fmt: skip


def detail(invoice, c, corrected):
    if invoice is None:
        return ""
    found = invoice.lines.filter(
        model=c.model,
        meter=c.meter,
        unit_price=c.unit_price,
        corrects=corrected,
        runs_on=c.runs_on,
    ).first()
    return f"{invoice.number}/{found.position}" if found else ""


def converted(amount, rate):
    return WIDE.quantize(WIDE.multiply(amount, rate), PICO)


def text(amount):
    return f"{amount:.12f}"


def safe(name):
    return f"'{name}" if name[:1] in set("=+-@\t\r") else name


def at(moment):
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
