"""Prefixes that a store keeps for a tenant: reported, stored once, summed up, priced, billed."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.actions import quarantine
from billing.actions.credits import Given, issue_credit_note
from billing.actions.ingest import ingest
from billing.actions.rollup import roll_up
from billing.models import (
    Charge,
    HourHead,
    PrefixHour,
    PrefixReport,
    UnpricedUsage,
    UsageQuarantine,
)
from billing.queries.checks import run_checks
from billing.queries.money import tenant_month
from billing.queries.preview import price_twice
from billing.rules.prefixes import Kept, read_report
from billing.rules.prices import faults_of_prices, read_line
from billing.rules.quarantine import Kind
from tenants.actions.changes import decide
from tenants.base.scope import fleet_scope
from tenants.models import ChangeRequest
from tenants.queries.directory import tenant_refs
from tests.billing.billed import export, rows_of_file
from tests.billing.books import NOVEMBER, OCTOBER, bill_month
from tests.billing.factories import HOUR, NOW, SYSTEM, at, cloud, make_prices, settle, usage
from tests.billing.test_killed import die_everywhere
from tests.billing.test_month_rating import sign

pytestmark = pytest.mark.django_db
START = datetime(2026, 1, 1, tzinfo=UTC)
TYPE = "quartermaster.prefixes.v1"


def report(tenant, gib_hours="1.5", *, start=HOUR, minutes=10, **changes):
    """A CloudEvent: so much was kept in the minutes from `start` on."""
    micros = round(start.timestamp() * 1_000_000)
    data = {
        "schema": 1, "tenant_id": tenant.pk, "application_id": tenant.app.pk, "model": "chat",
        "gib_hours": gib_hours, "started_at": micros,
        "finished_at": micros + minutes * 60_000_000,
    } | changes  # fmt: skip
    return cloud({"request_id": str(uuid.uuid4()), **data}, type=TYPE)


def send(source, *events, now=NOW):
    return ingest(source, json.dumps(events).encode(), now=now)


def sell(text="0.02", **changes):
    make_prices(more=[read_line("chat", "kept_prefix", text)], **changes)


def charged():
    with fleet_scope():
        rows = Charge.objects.filter(meter="kept_prefix")
        return rows.aggregate(q=Sum("quantity"), a=Sum("amount"))


def wrong():
    with fleet_scope():
        return [c for c in run_checks(START) if not c.holds]


def test_it_is_stored_once_summed_up_and_charged(acme, gateway):
    sell()
    events = [report(acme, "0.25"), report(acme, "0.000001"), report(acme, 2)]
    receipt = send(gateway, *events, events[0])
    assert (receipt.accepted, receipt.duplicates, receipt.quarantined) == (3, 1, ())
    settle()
    assert charged() == {"q": Decimal("2.250001"), "a": Decimal("0.04500002")}
    with fleet_scope():
        head = HourHead.objects.get()
        kept = PrefixHour.objects.get()
        assert (kept.hour, kept.gib_hours, kept.reports) == (HOUR, Decimal("2.250001"), 3)
        assert head.events == 0, "it is no request"
    assert send(gateway, *events).duplicates == 3
    assert roll_up(NOW) == 0
    assert wrong() == []


def test_it_stands_beside_requests_of_the_same_batch_and_hour(acme, gateway):
    sell()
    first = cloud(usage(acme))
    send(gateway, first, report(acme), cloud(usage(acme)))
    settle()
    with fleet_scope():
        meters = set(Charge.objects.values_list("meter", "traffic_class"))
    tokens = {(m, "interactive") for m in ("prompt", "cached", "completion")}
    assert meters == {("kept_prefix", ""), *tokens}
    assert wrong() == []


def test_what_comes_late_is_a_difference(acme, gateway):
    sell()
    send(gateway, report(acme, 1))
    settle()
    send(gateway, report(acme, 2))
    settle()
    with fleet_scope():
        rows = Charge.objects.filter(meter="kept_prefix").order_by("id")
        assert [c.quantity for c in rows] == [1, 2]


def test_without_a_price_it_is_listed(acme, gateway):
    make_prices()
    send(gateway, report(acme))
    settle()
    assert charged()["q"] is None
    with fleet_scope():
        (row,) = UnpricedUsage.objects.values_list("model", "meter", "traffic_class", "quantity")
    assert row == ("chat", "kept_prefix", "", Decimal("1.5"))
    assert wrong() == []
    sell("0", now=NOW)
    settle()
    with fleet_scope():
        assert not UnpricedUsage.objects.exists(), "free on purpose"
    assert charged() == {"q": Decimal("1.5"), "a": 0}


@pytest.mark.parametrize(
    ("text", "owed"),
    [
        ("0.02", "0.24"),
        ("tiered 10:0.03 rest:0.01", "0.32"),
        ("volume 10:0.03 rest:0.01", "0.12"),
        ("package 5:0.40", "1.2"),
    ],
)
def test_every_kind_of_price_sells_it(acme, gateway, text, owed):
    """4 GiB-hours in each of three hours."""
    sell(text)
    send(gateway, *(report(acme, 4, start=at(hours=n)) for n in (5, 4, 3)))
    settle()
    assert charged()["a"] == Decimal(owed)
    assert wrong() == []


def test_a_contract_and_its_factor_hold_for_it(acme, gateway):
    sell("0.02")
    sign(acme, ("", "", "factor 0.5"))
    send(gateway, report(acme, 4))
    settle()
    assert charged()["a"] == Decimal("0.04")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("chat", "kept_prefix", "0.02", "batch"), "no class"),
        (("chat", "kept_prefix", "0.02", "", "H100"), "no class and no place"),
        (("chat", "kept_prefix", "0.0000001"), "more than 6 decimals"),
    ],
)
def test_a_price_that_could_never_hold_is_refused(line, said):
    (fault,) = faults_of_prices([read_line(*line)], contract=True).values()
    assert said in fault


def test_pages_and_previews_have_it_before_it_is_charged(acme, gateway, fiona):
    sell()
    version = make_prices(
        more=[read_line("chat", "kept_prefix", "0.5")], starts_at=NOW.replace(month=12, minute=0)
    )
    october = NOW - timedelta(days=30)
    send(gateway, report(acme, 3), report(acme, 4, start=october))
    roll_up(NOW)
    with fleet_scope():
        assert tenant_month(fiona, "acme", now=NOW).waiting == Decimal("0.06")
        (line,) = price_twice(version, list(tenant_refs([acme.pk]).values()), now=NOW)
    assert (line.old, line.new) == (Decimal("0.08"), 2)


def test_it_stands_on_the_invoice_and_in_files(acme, gateway, tmp_path, settings, finance):
    settings.QM_EXPORTS_DIR = tmp_path
    sell("0.5")
    october = OCTOBER.replace(minute=0)
    send(gateway, report(acme, "2.5", start=october), now=NOVEMBER)
    settle(NOVEMBER)
    invoice = bill_month(acme)
    with fleet_scope():
        (line,) = invoice.lines.filter(kind="usage")
        assert (line.name, line.quantity, line.amount) == (
            "chat, Kept prefixes", Decimal("2.5"), Decimal("1.25"),
        )  # fmt: skip
        given = [Given(line.position, Decimal("0.25"))]
        issue_credit_note(SYSTEM, invoice.number, lines=given, why="Lost it", now=NOVEMBER)
    _, data = export(SYSTEM, 10, "focus-1.4", tenant=acme)
    row = next(r for r in rows_of_file(data) if r["SkuMeter"])
    assert {n: row[n] for n in ("SkuId", "SkuMeter", "ConsumedUnit", "PricingUnit")} == {
        "SkuId": "chat/kept_prefix", "SkuMeter": "Kept prefixes", "ConsumedUnit": "GiB-Hours",
        "PricingUnit": "GiB-Hours",
    }  # fmt: skip
    assert Decimal(row["PricingQuantity"]) * Decimal(row["ListUnitPrice"]) == Decimal("1.25")
    assert json.loads(row["SkuPriceDetails"]) == {"x_ModelName": "chat"}
    (found,) = finance.get("usage/prefixes?tenant=acme&since=2026-10-01T00:00:00Z")["results"]
    assert (found["gib_hours"], found["model"]) == ("2.500000", "chat")


def test_slugs_name_its_owner(acme, gateway):
    event = report(acme)
    for name in ("tenant_id", "application_id", "request_id"):
        del event["data"][name]
    event["data"] |= {"tenant": "acme", "application": "app"}
    assert send(gateway, event).accepted == 1
    with fleet_scope():
        assert PrefixReport.objects.get().tenant_id == acme.pk


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"gib_hours": "-1"}, "bad_schema", "gib_hours"),
        ({"gib_hours": "0.0000001"}, "bad_schema", "6 decimals"),
        ({"gib_hours": "NaN"}, "bad_schema", "gib_hours"),
        ({"gib_hours": "1e99"}, "bad_schema", "gib_hours"),
        ({"minutes": 61}, "bad_schema", "one hour"),
        ({"minutes": 0}, "bad_schema", "in order"),
        ({"model": ""}, "bad_schema", "model"),
        ({"schema": 2}, "bad_schema", "schema"),
        ({"application_id": 999_999}, "unknown_application", "application"),
        ({"start": HOUR - timedelta(days=70)}, "too_late", "days ago"),
        ({"start": HOUR + timedelta(hours=2)}, "future", "from now"),
    ],
)
def test_what_is_not_right_waits_with_its_reason(acme, gateway, changes, reason, said):
    receipt = send(gateway, cloud(usage(acme)), report(acme, **changes))
    assert receipt.accepted == 1
    (bad,) = receipt.quarantined
    assert (bad.position, bad.reason) == (1, reason)
    assert said in bad.detail
    with fleet_scope():
        assert not PrefixReport.objects.exists()
        assert UsageQuarantine.objects.count() == 1


def test_an_id_with_another_content_is_a_conflict(acme, gateway):
    event = report(acme, "1.50")
    same, other = (event | {"data": event["data"] | {"gib_hours": g}} for g in (1.5, "9"))
    receipt = send(gateway, event, same, other)
    assert (receipt.accepted, receipt.duplicates) == (1, 1)
    assert [b.reason for b in receipt.quarantined] == ["conflict"]
    assert [b.reason for b in send(gateway, other).quarantined] == ["conflict"]
    with fleet_scope():
        assert PrefixReport.objects.get().gib_hours == Decimal("1.5")


def test_a_request_that_only_speaks_of_it_is_a_request(acme, gateway):
    assert send(gateway, cloud(usage(acme, reason=TYPE))).accepted == 1
    with fleet_scope():
        assert not PrefixReport.objects.exists()


@pytest.mark.parametrize("kind", [Kind.TAKE, Kind.CORRECT])
def test_people_take_what_waits(acme, gateway, fin, vic, kind):
    sell()
    late = report(acme, start=HOUR - timedelta(days=70))
    send(gateway, late)
    right = json.dumps(late | {"data": report(acme)["data"]})
    with fleet_scope():
        pk = UsageQuarantine.objects.get().pk
        if kind is Kind.TAKE:
            quarantine.ask(fin, [pk], kind=kind, why="It was down", now=NOW)
        else:
            quarantine.ask_to_correct(fin, pk, corrected=right, why="Its clock", now=NOW)
        change = ChangeRequest.objects.get()
        decide(vic, change.pk, digest=change.digest, approve=True)
    assert quarantine.apply_decisions(NOW) == 1
    settle()
    assert charged()["q"] == Decimal("1.5")
    assert send(gateway, late).accepted == 0, "its id is taken"


def test_whoever_dies_on_the_way_loses_nothing_and_charges_once(acme, gateway):
    sell()
    body = json.dumps([report(acme), cloud(usage(acme))]).encode()
    kills = die_everywhere(lambda: ingest(gateway, body, now=NOW))
    kills += die_everywhere(lambda: roll_up(NOW))
    settle()
    assert kills > 20
    assert charged()["q"] == Decimal("1.5")
    assert ingest(gateway, body, now=NOW).duplicates == 2
    assert wrong() == []


def test_the_same_report_has_one_digest_however_it_is_spelled(acme):
    event = report(acme, "2.50")
    other = event | {"data": dict(reversed(event["data"].items())) | {"gib_hours": 2.5}}
    first, second = (read_report(json.dumps(e).encode(), NOW) for e in (event, other))
    assert isinstance(first, Kept) and isinstance(second, Kept)
    assert first.sha == second.sha
