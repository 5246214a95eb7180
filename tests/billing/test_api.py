"""The finance API: tokens with scopes, pages by cursor, strangers, bad input, the schema."""

import csv
import hashlib
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import yaml
from django.core.management import call_command
from django.utils import timezone

from billing.actions.allocation import allocate_due
from billing.drive.exports import run_due
from tests.billing.doors import Door, make_token
from tests.billing.factories import load, make_prices, usage
from tests.billing.test_budgets import make_budget
from tests.billing.test_month_rating import sign

pytestmark = pytest.mark.django_db


@pytest.fixture
def data(acme, gateway, settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path
    now = timezone.now()
    make_prices(now=now)
    made = [usage(acme, at=now - timedelta(minutes=m)) for m in range(5)]
    load(gateway, *made, usage(acme, at=now, outcome="shed", service_id=None), now=now)
    return made


URLS = [
    "usage",
    "usage/events",
    "usage/unpriced",
    "usage/prefixes",
    "charges",
    "rating-runs",
    "costs/allocations",
    "price-books",
    "exports",
    "export-schedules",
    "export-destinations",
    "journal",
    "journal/trial-balance",
]
FLEET_URLS = [
    "ledger-accounts",
    "usage/quarantine",
    "usage/confidence",
    "usage/confidence/hours",
    "usage/quarantine/decisions",
    "costs/economics",
    "costs/units",
    "costs/methods",
    "costs/weights",
    "costs/releases",
    "costs/other",
    "costs/gpu-prices",
    "costs/idle",
    "costs/rollouts",
    "costs/nodes",
    "costs/gpu-time",
    "costs/gpu-intervals",
    "usage/completeness",
]


@pytest.mark.parametrize("url", URLS + FLEET_URLS)
@pytest.mark.usefixtures("data")
def test_it_answers_finance(finance, url):
    finance.get(url)


@pytest.mark.parametrize("url", ["usage", "usage/events", "usage/unpriced", "charges", "exports"])
@pytest.mark.usefixtures("data")
def test_it_shows_a_stranger_nothing(stranger, url):
    found = stranger.get(url)
    assert found["results"] == []


@pytest.mark.parametrize("url", FLEET_URLS)
@pytest.mark.usefixtures("data")
def test_it_keeps_the_fleets_figures_from_tenants(stranger, url):
    assert stranger("get", url).status_code in (403, 404)


@pytest.mark.parametrize(
    "url",
    [
        "usage?tenant=acme",
        "charges?tenant=acme",
        "usage/events?tenant=acme",
        "costs/allocations?tenant=acme",
        "tenants/acme/billing",
        "tenants/acme/budgets",
        "tenants/acme/billing/comparison?first=2026-10-01&last=2026-10-02"
        "&with_first=2026-09-01&with_last=2026-09-02",
        "usage/download?tenant=acme",
        "costs/allocations/download?tenant=acme",
        "usage/completeness?tenant=acme",
        "commitments?tenant=acme",
        "exports/1",
        "exports/1/download",
        "exports/1/deliveries",
        "export-schedules/1",
        "export-destinations/1",
        "ledger-accounts/bank",
        "journal?tenant=acme",
        "journal/trial-balance?tenant=acme",
        "journal/transactions/1",
        "price-books/nothing",
    ],
)
def test_it_hides_what_is_not_theirs(data, stranger, url):
    assert stranger("get", url).status_code == 404


@pytest.mark.usefixtures("data")
def test_streams_have_nothing_of_others(stranger):
    for url in ("usage/download", "costs/allocations/download", "charges/download"):
        answer = stranger("get", url)
        assert (answer["X-Rows"], b"".join(answer.streaming_content)) == ("0", b"")
    assert [m["tenant"] for m in stranger.get("tenant-months")["results"]] == ["globex"]


def test_it_hides_anothers_request(data, stranger, finance):
    url = f"usage/events/{data[0]['request_id']}"
    assert stranger("get", url).status_code == 404
    found = finance.get(url)
    assert found["event"]["request_id"] == data[0]["request_id"]
    assert {line["meter"] for line in found["lines"]} == {"prompt", "cached", "completion"}
    assert Decimal(found["amount"]) == Decimal("0.000077")


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("url", URLS)
def test_it_asks_everybody_for_a_credential(db, method, url):
    assert Door("nothing")(method, url).status_code == 401


@pytest.mark.usefixtures("data")
def test_it_holds_a_token_to_its_scopes(acme):
    narrow = Door(make_token("nora", "finance", permissions=["view"]))
    assert narrow("get", "charges").status_code == 403
    reader = Door(make_token("rita", "finance", permissions=["view", "view_money"]))
    assert reader("post", "rating-runs").status_code == 403


@pytest.mark.usefixtures("data")
def test_it_sums_charges_to_the_summary(finance):
    rows = finance.get("charges?tenant=acme")["results"]
    summary = finance.get("tenants/acme/billing")
    owed = sum(Decimal(r["amount"]) for r in rows)
    month = timezone.now().strftime("%Y-%m")
    in_month = sum(Decimal(r["amount"]) for r in rows if r["hour"].startswith(month))
    assert Decimal(summary["charged"]) == in_month
    assert owed == 5 * Decimal("0.000077")
    for part in ("by_model", "by_application", "by_meter"):
        assert sum(Decimal(p["amount"]) for p in summary[part]) == in_month
    assert summary["budget"] is None


@pytest.mark.usefixtures("data")
def test_it_tells_what_is_used_of_each_budget(finance, acme):
    make_budget(acme, "10", monthly_tokens=1_000)
    make_budget(acme, "", application_id=acme.app.pk, model="chat", monthly_input_tokens=500)
    money, tokens, input_ = finance.get("tenants/acme/budgets")["results"]
    assert (money["kind"], money["limit"]) == ("money", "10.000000")
    assert (tokens["kind"], tokens["limit"]) == ("tokens", "1000.000000")
    assert (input_["application"], input_["model"]) == ("app", "chat")
    assert 0 < Decimal(input_["spent"]) < Decimal(tokens["spent"])


@pytest.mark.usefixtures("data")
def test_it_tells_what_is_used_of_a_minimum(finance, acme):
    start = timezone.now().replace(minute=0, second=0, microsecond=0)
    sign(acme, ("", "commitment", "commitment 10"), starts_at=start, now=timezone.now())
    (found,) = finance.get("commitments")["results"]
    assert (found["tenant"], found["contract"], found["version"]) == ("acme", "contract-acme", 1)
    assert 0 < Decimal(found["unused"]) <= Decimal(found["amount"]) <= 10
    assert (found["is_over"], found["contract_ends_at"], found["days_left"]) == (False, None, None)


@pytest.mark.usefixtures("data")
def test_it_pages_by_cursor(finance):
    seen, url = [], "usage/events?limit=2"
    while url:
        found = finance.get(url)
        seen += [e["request_id"] for e in found["results"]]
        url = found["next"] and found["next"].partition("/api/v1/")[2]
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.usefixtures("data")
def test_it_filters_by_outcome(finance):
    assert len(finance.get("usage/events?outcome=trouble")["results"]) == 1
    assert len(finance.get("usage/events?outcome=served")["results"]) == 5


@pytest.mark.parametrize(
    "url",
    [
        "usage?outcome=fine",
        "usage?since=yesterday",
        "usage?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "usage?since=2020-01-01T00:00:00Z",
        "usage?misspelt=1",
        "usage?application=app",
        "charges?meter=words",
        "usage/events?service_id=x",
        "usage/events?request_id=7",
        "tenants/acme/billing?month=soon",
        "tenants/acme/billing?month=2026-13",
    ],
)
def test_it_refuses_a_bad_filter(acme, finance, url):
    answer = finance("get", url)
    assert answer.status_code == 422, answer.content
    assert answer["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"a": 1, "a": 2}', b"[]", b"\xff", b'{"format": NaN}', b"[" * 50_000, b'"text"'],
)
def test_it_refuses_a_body_that_is_not_an_object(finance, body):
    assert finance("post", "exports", body).status_code in (400, 422)


def test_it_exports_on_request_and_once_per_key(data, finance, stranger):
    month = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    body = {
        "format": "focus-1.4",
        "starts_at": month.isoformat(),
        "ends_at": (month + timedelta(days=32)).isoformat(),
        "tenant": "acme",
    }
    key = {"Idempotency-Key": "export-1"}
    made = finance("post", "exports", body, **key)
    assert made.status_code == 202, made.content
    assert finance("post", "exports", body, **key).json()["id"] == made.json()["id"]
    other = finance("post", "exports", body | {"format": "csv"}, **key)
    assert other.status_code == 422
    assert finance("get", f"exports/{made.json()['id']}/download").status_code == 404
    assert run_due(timezone.now()) == 1
    url = f"exports/{made.json()['id']}"
    evidence = finance.get(url)["artifact"]
    answer = finance("get", f"{url}/download")
    content = b"".join(answer.streaming_content)
    assert hashlib.sha256(content).hexdigest() == evidence["sha256"]
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    summary = finance.get("tenants/acme/billing")
    assert sum(Decimal(r["BilledCost"]) for r in rows) == Decimal(summary["charged"])
    assert stranger("get", url).status_code == 404
    known = finance("get", f"{url}/download", **{"If-None-Match": answer["ETag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert stranger("get", f"{url}/download").status_code == 404


def test_it_keeps_a_daily_schedule(finance, acme):
    body = {"name": "Daily", "format": "csv", "local_time": "02:00", "time_zone": "Europe/Berlin"}
    made = finance("post", "export-schedules", body)
    assert made.status_code == 201, made.content
    url = f"export-schedules/{made.json()['id']}"
    off = finance("patch", url, {"enabled": False}, **{"If-Match": made["ETag"]})
    assert off.json()["enabled"] is False
    stale = finance("patch", url, {"enabled": True}, **{"If-Match": made["ETag"]})
    assert stale.status_code == 412
    assert finance("post", "export-schedules", body | {"time_zone": "Mars"}).status_code == 422


def test_it_rates_on_request(data, finance):
    assert finance("post", "rating-runs").json() == {"hours": 0, "charges": 0, "run_id": None}


def test_it_sets_gpu_prices_and_attributes_nothing_without_hours(finance):
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    body = {"currency": "USD", "hourly": {"H100": "2.60"}, "starts_at": hour.isoformat()}
    made = finance("post", "costs/gpu-prices", body | {"why": "contract"})
    assert made.status_code == 201, made.content
    assert finance("post", "costs/gpu-prices", body | {"hourly": {}}).status_code == 422
    assert allocate_due(timezone.now()) == 0
    assert finance.get("costs/economics")["bill"] == "0.000000000000"


def test_it_takes_costs_besides_gpus_once(finance):
    row = "2026-11-01,2026-12-01,platform,Databases,,USD,720"
    body = {"csv": f"starts_at,ends_at,kind,name,model,currency,amount\n{row}\n"}
    made = finance("post", "costs/other/import", body)
    assert (made.status_code, made.json()) == (201, {"new": 1, "known": 0})
    assert finance("post", "costs/other/import", body).json() == {"new": 0, "known": 1}
    (line,) = finance.get("costs/other")["results"]
    assert (line["name"], line["amount"]) == ("Databases", "720.000000000000")
    wrong = finance("post", "costs/other/import", {"csv": "a,b\n"})
    assert wrong.status_code == 422


def test_it_chooses_how_cost_is_shared(finance):
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
    body = {"method": "token-work-1", "starts_at": hour.isoformat(), "why": "Prompts are cheap"}
    made = finance("post", "costs/methods", body)
    assert made.status_code == 201, made.content
    (row,) = finance.get("costs/methods")["results"]
    assert (row["method"], row["why"]) == ("token-work-1", "Prompts are cheap")
    for wrong in ({"method": "mood"}, {"starts_at": "2026-01-01T00:00:00Z"}, {"why": ""}):
        assert finance("post", "costs/methods", body | wrong).status_code == 422


def test_it_describes_itself_without_a_warning(capsys, tmp_path):
    path = tmp_path / "schema.yml"
    call_command("spectacular", "--file", str(path), "--validate")
    warnings = [line for line in capsys.readouterr().err.splitlines() if "billing" in line]
    assert warnings == []
    schema = yaml.safe_load(path.read_text())
    assert schema["openapi"].startswith("3.1")
    for url in URLS + FLEET_URLS:
        assert f"/api/v1/{url}" in schema["paths"]
