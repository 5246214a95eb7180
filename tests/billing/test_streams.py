"""A month of charges as one stream: whole, in order, the same while more is charged."""

import csv
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import AsyncRequestFactory

from billing.api import streams
from billing.api.charges import ChargeOut
from billing.api.costs import AllocationOut
from billing.api.usage import UsageHourOut
from billing.models import Charge
from billing.rules.streams import ALLOCATION_COLUMNS, COLUMNS, USAGE_COLUMNS
from tenants.base.files import answer_stream
from tenants.base.scope import fleet_scope
from tests.billing.books import OCTOBER, set_account, spend
from tests.billing.factories import make_prices

pytestmark = pytest.mark.django_db
HOURS = 12


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(streams, "ROWS", 5)


@pytest.fixture
def charged(acme, globex, gateway):
    make_prices()
    for tenant in (acme, globex):
        for hour in range(HOURS):
            spend(gateway, tenant, at=OCTOBER + timedelta(hours=hour))
    return acme


def read(door, query):
    answer = door("get", f"charges/download?{query}")
    assert answer.status_code == 200, answer.content
    return answer, b"".join(answer.streaming_content).decode()


def test_it_has_every_charge_once_as_the_list_has_it(charged, finance):
    answer, text = read(finance, "month=2026-10&tenant=acme")
    rows = [json.loads(line) for line in text.splitlines()]
    listed = finance.get(
        "charges?tenant=acme&since=2026-10-01T00:00:00Z&until=2026-11-01T00:00:00Z"
    )
    assert rows == sorted(listed["results"], key=lambda r: (r["hour"], r["id"]))
    assert len(rows) == 3 * HOURS == int(answer["X-Rows"])
    assert answer["X-Sums"] == f"USD={sum(Decimal(r['amount']) for r in rows):f}"
    assert answer["Content-Type"] == "application/x-ndjson"
    assert int(answer["X-Watermark"]) == max(r["id"] for r in rows)


def test_it_is_a_table_as_well(charged, finance):
    answer, text = read(finance, "month=2026-10&file_type=csv")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == int(answer["X-Rows"]) == 2 * 3 * HOURS
    assert {r["price_book"] for r in rows} == {"list"}
    assert "charges-20261001-20261101.csv" in answer["Content-Disposition"]


def test_what_is_charged_meanwhile_is_not_in_it(charged, finance, gateway):
    answer = finance("get", "charges/download?month=2026-10&tenant=acme")
    pieces = iter(answer.streaming_content)
    first = next(pieces)
    spend(gateway, charged, at=OCTOBER + timedelta(hours=HOURS - 1))
    rest = first + b"".join(pieces)
    assert len(rest.splitlines()) == int(answer["X-Rows"]) == 3 * HOURS
    with fleet_scope():
        assert Charge.objects.filter(tenant_id=charged.pk).count() == 3 * HOURS + 3


def test_a_month_is_that_of_the_accounts_zone(charged, finance, gateway):
    spend(gateway, charged, at=datetime(2026, 9, 30, 12, tzinfo=UTC))
    set_account(charged, time_zone="Pacific/Auckland")
    answer, text = read(finance, "month=2026-10&tenant=acme")
    assert json.loads(text.splitlines()[0])["hour"] == "2026-09-30T12:00:00Z"
    assert "charges-20261001-20261101" in answer["Content-Disposition"]


@pytest.mark.parametrize(
    "query",
    [
        "month=2026-10&since=2026-10-01T00:00:00Z",
        "month=2026-13",
        "file_type=xlsx",
        "mouth=2026-10",
    ],
)
def test_it_refuses_what_makes_no_sense(finance, query):
    assert finance("get", f"charges/download?{query}").status_code == 422


def test_a_stranger_gets_none_of_it(charged, stranger):
    assert stranger("get", "charges/download?month=2026-10&tenant=acme").status_code == 404
    _, text = read(stranger, "month=2026-10")
    tenants = {json.loads(line)["tenant_id"] for line in text.splitlines()}
    assert charged.pk not in tenants and len(tenants) == 1


async def test_it_is_made_while_it_is_sent_behind_an_asgi_server():
    made = []

    def pieces():
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    answer = answer_stream(
        AsyncRequestFactory().get("/"), pieces(), filename="x", content_type="text/csv"
    )
    came = aiter(answer)
    assert await anext(came) == b"0"
    assert made == [0]
    assert [piece async for piece in came] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("columns", "listed"),
    [
        (COLUMNS, ChargeOut),
        (USAGE_COLUMNS, UsageHourOut),
        (ALLOCATION_COLUMNS, AllocationOut),
    ],
)
def test_a_stream_has_what_its_list_has(columns, listed):
    """Else rows that differ in what is left out look like one row twice."""
    assert set(columns) == set(listed().fields)
