"""The same two months, priced by the console and by a program that knows its documents alone."""

import json
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.actions.calendars import keep_periods
from billing.actions.contracts import create_contract
from billing.actions.exchange import record_rate
from billing.actions.ingest import ingest
from billing.actions.invoices import issue_invoices
from billing.actions.periods import close, sign_off, start_closing
from billing.actions.prices import create_book, draft_version
from billing.actions.publication import publish_version
from billing.models import Charge, Invoice, UnpricedUsage
from billing.queries.charged import ChargeFilter
from billing.queries.checks import run_checks
from billing.queries.grants import used_on
from billing.queries.periods import period_checks
from billing.rules.exchange import Recorded
from billing.rules.grants import Scope
from billing.rules.prices import read_line
from tenants.base.scope import fleet_scope
from tenants.models import Application
from tenants.queries.directory import tenant_refs
from tests.billing.billed import MONTHS
from tests.billing.books import GRACE, find_period, set_account, tax
from tests.billing.factories import SYSTEM, make_tenant, settle
from tests.billing.granted import granted
from tests.billing.independent import months, price
from tests.billing.test_batches import differences

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.timeout(900),  # two months of the ledger, on a machine that is shared
]
EVENTS = 1_200


@pytest.fixture
def tenants(db):
    found = {}
    for slug, given in months.TENANTS.items():
        tenant = make_tenant(slug, currency=given["currency"], time_zone=given["zone"])
        with fleet_scope():
            tenant.more = Application.objects.create(tenant=tenant, slug="more", name="More")
        found[slug] = tenant
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_a_month_has_the_same_price_by_another_program(
    tenants, gateway, fin, vic, seed, tmp_path, settings
):
    """And the files of it are what each of its charges says."""
    settings.QM_ISSUER = "Fleet"
    owners = [(t.pk, app.pk) for t in tenants.values() for app in (t.app, t.more)]
    events = months.events(seed, owners, EVENTS)
    agreed = months.agreed({slug: t.pk for slug, t in tenants.items()})
    prepare(agreed, tenants, fin, vic)
    live(agreed, events, gateway, {t.pk: t for t in tenants.values()})
    other = second_opinion(events, agreed, tmp_path)
    with fleet_scope():
        assert invoices() == sorted(map(plain, other["invoices"]), key=lambda i: (i[0], i[1]))
        assert charges() == rows(other["charges"])
        assert unpriced() == rows(other["unpriced"])
        assert [c for c in run_checks(at("2026-09-01T00:00:00+00:00")) if not c.holds] == []
        assert seldom_seen(other) == []
        for month in (10, 11):
            assert differences(ChargeFilter(MONTHS[month], MONTHS[month + 1]), tmp_path) == []


def at(text):
    return datetime.fromisoformat(text)


def prepare(agreed, tenants, fin, vic):
    """What was agreed before the first month: books, contracts, accounts, credits."""
    with fleet_scope():
        for currency in {book["currency"] for book in agreed["books"] if not book["tenant"]}:
            create_book(SYSTEM, slug=currency.lower(), name=currency, currency=currency)
        for owner in {book["tenant"] for book in agreed["books"] if book["tenant"]}:
            create_contract(SYSTEM, tenant_refs([owner])[owner])
    for given in agreed["tenants"]:
        tenant = next(t for t in tenants.values() if t.pk == given["id"])
        taxes = tuple(tax(*t) for t in given["taxes"])
        set_account(
            tenant, taxes=taxes, tax_per=given["tax_per"], rounding=given["rounding"],
            currency=given["invoiced_in"], rate_source="Bank",
        )  # fmt: skip
        for credit in given["credits"]:
            granted(
                fin, vic, tenant, now=months.DELIVERIES[0], name=credit["name"],
                amount=Decimal(credit["amount"]), currency=given["invoiced_in"],
                paid=credit["paid"], reference=credit["name"] if credit["paid"] else "",
                priority=credit["priority"],
                scope=Scope(credit["model"], credit["meter"]),
                expires_at=at(credit["expires_at"]) if credit["expires_at"] else None,
            )  # fmt: skip


def live(agreed, events, gateway, tenants):
    """Everything in the order in which it happened."""
    happened = []
    for book in agreed["books"]:
        for version in book["versions"]:
            happened.append((at(version["published"]), 0, publish, (book, version, tenants)))
    for base, quote, day, rate in agreed["rates"]:
        given = Recorded(base, quote, date.fromisoformat(day), "Bank", Decimal(rate))
        happened.append((at(f"{day}T08:00:00+00:00"), 0, note_rate, (given,)))
    for moment in {e["received_at"] for e in events}:
        delivered = [e for e in events if e["received_at"] == moment]
        happened.append((at(moment), 1, deliver, (gateway, delivered)))
    for given in agreed["tenants"]:
        for month, moment in given["closes"]:
            happened.append((at(moment), 2, close_month, (tenants[given["id"]], month)))
    for now, _, act, given in sorted(happened, key=lambda h: h[:2]):
        act(*given, now)
        settle(now)
    settle(at(agreed["known_until"]))


def publish(book, version, tenants, now):
    owner = book["tenant"]
    slug = f"contract-{tenants[owner].slug}" if owner else book["currency"].lower()
    prices = [read_line(*line) for line in version["prices"]]
    with fleet_scope():
        draft = draft_version(SYSTEM, slug, prices=prices)
        publish_version(
            SYSTEM, slug, draft.number, starts_at=at(version["from"]), now=now, why="agreed",
            ends_at=at(version["until"]) if version["until"] else None,
        )  # fmt: skip


def note_rate(given, now):
    with fleet_scope():
        record_rate(SYSTEM, given, now=now)


def deliver(gateway, events, now):
    body = json.dumps([{k: v for k, v in e.items() if k != "received_at"} for e in events])
    assert ingest(gateway, body.encode(), now=now).quarantined == ()


def close_month(tenant, month, now):
    """Usage without a price is not billed, which a person signs."""
    settle(now)
    keep_periods(now)
    with fleet_scope():
        period = find_period(tenant, month)
        start_closing(SYSTEM, period.pk, now=now)
        checks = period_checks(SYSTEM, find_period(tenant, month), now=now, grace=GRACE)
        for check in (c for c in checks if not c.is_green):
            sign_off(SYSTEM, period.pk, key=check.key, why="Not billed", now=now, grace=GRACE)
        close(SYSTEM, period.pk, now=now, grace=GRACE)
        issue_invoices(SYSTEM, period.pk, now=now)


def second_opinion(events, agreed, folder):
    """From another process, which cannot reach this project."""
    (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    (folder / "agreed.json").write_text(json.dumps(agreed))
    command = [sys.executable, "-I", price.__file__, "events.jsonl", "agreed.json"]
    return json.loads(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)


def plain(invoice):
    amounts = [Decimal(invoice[k]) for k in ("rounding", "promoted", "net", "total", "prepaid")]
    lines = [(*line[:4], *map(Decimal, line[4:])) for line in invoice["lines"]]
    return invoice["tenant"], invoice["month"], lines, list(map(Decimal, invoice["taxes"])), amounts


def invoices():
    """As `plain` has them."""
    found = []
    for invoice in Invoice.objects.select_related("period").order_by("tenant_id", "period__name"):
        kinds = {"usage": [], "correction": [], "promotion": [], "rounding": [], "tax": []}
        for line in invoice.lines.order_by("position"):
            kinds[line.kind].append(line)
        lines = [
            (c.corrects, c.model, c.meter, c.runs_on, c.unit_price, c.quantity, c.exact, c.amount)
            for c in [*kinds["usage"], *kinds["correction"]]
        ]
        promoted = -sum(p.amount for p in kinds["promotion"])
        prepaid = sum(u.amount for u in used_on(invoice) if u.paid)
        rounding = sum(r.exact for r in kinds["rounding"])
        found.append(
            (
                invoice.tenant_id,
                invoice.period.name,
                lines,
                [t.amount for t in kinds["tax"]],
                [rounding, promoted, invoice.net, invoice.total, prepaid],
            )
        )
    return found


def rows(found):
    return [(r[0], at(r[1]), *r[2:7], *map(Decimal, r[7:])) for r in found]


NAMES = ("tenant_id", "hour", "application_id", "model", "traffic_class", "meter", "runs_on")


def charges():
    sums = Charge.objects.values_list(*NAMES, "unit_price").annotate(q=Sum("quantity"))
    return sorted(row for row in sums.order_by() if row[-1])


def unpriced():
    return sorted(UnpricedUsage.objects.values_list(*NAMES, "quantity"))


def seldom_seen(found):
    """What these months must have in them, or they prove less than they say."""
    lines = [line for invoice in found["invoices"] for line in invoice["lines"]]
    wanted = {
        "a fee": any(line[2] == "fee" for line in lines),
        "a minimum": any(line[2] == "commitment" for line in lines),
        "GPU time": any(line[2] == "gpu_second" for line in lines),
        "a correction": any(line[0] for line in lines),
        "a reversal": any(Decimal(line[5]) < 0 for line in lines),
        "a promotion": any(Decimal(i["promoted"]) for i in found["invoices"]),
        "prepaid": any(Decimal(i["prepaid"]) for i in found["invoices"]),
        "a conversion": any(
            Decimal(line[6]) != Decimal(line[4]) * Decimal(line[5]) for line in lines
        ),
        "kept prefixes": any(line[2] == "kept_prefix" for line in lines),
        "kept prefixes without a price": any(r[5] == "kept_prefix" for r in found["unpriced"]),
        "no price": bool(found["unpriced"]),
        "a provider without a price": any(row[6] for row in found["unpriced"]),
        "a provider's price": any(row[5] != "gpu_second" and row[6] for row in found["charges"]),
        "GPU time by product": {"", "H100"}
        <= {row[6] for row in found["charges"] if row[5] == "gpu_second"},
    }
    return [name for name, is_there in wanted.items() if not is_there]
