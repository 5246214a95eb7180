"""What a page says of money is what the record, the API and the rows behind it say."""

import json
from datetime import UTC, datetime

import pytest

from billing.models import Charge
from billing.queries.billed import charges_of_line
from billing.queries.charged import ChargeFilter
from billing.queries.cuts import cut_up
from billing.queries.trail import trail_of
from billing.rules.prices import read_line
from tenants.base.scope import fleet_scope
from tenants.models import User
from tests.billing.books import NOVEMBER, ODD_PRICES, bill_month, set_account, spend
from tests.billing.factories import HOUR, NOW, SYSTEM, load, make_prices, settle, usage
from tests.billing.test_exchange import note_rate
from tests.billing.test_month_rating import sign
from tests.console.visitors import browser

pytestmark = pytest.mark.django_db
TOKENS = ("prompt", "cached", "completion")


def test_half_a_month_of_a_fee_is_half_and_not_none(acme, fin, gateway):
    make_prices()
    sign(acme, ("", "fee", "flat 500"), starts_at=datetime(2026, 10, 16, 12, tzinfo=UTC))
    spend(gateway, acme)
    settle(NOVEMBER)
    invoice = bill_month(acme)
    with fleet_scope():
        fiona = browser(User.objects.get(email="fiona@example.com"))
        line = invoice.lines.get(meter="fee")
        assert charges_of_line(line, invoice).get().amount == 250
    said = {x["name"]: x["quantity"] for x in json.loads(invoice.snapshot)["lines"]}
    assert said["Monthly fee"] == "0.5"
    page = fiona.get(f"/invoices/{invoice.number}/").content.decode()
    assert '<td class="num">0.5</td>' in page
    of_line = fiona.get(f"/invoices/{invoice.number}/lines/{line.position}/").content.decode()
    assert "0.5 at 500.000000000000 USD" in of_line
    charges = fiona.get("/billing/acme/charges/?month=2026-10&meter=fee&from=2026-10-01")
    assert '<td class="num">0.5</td>' in charges.content.decode()


def trail(tenant, start, end, invoice=None):
    wanted = ChargeFilter(start, end, tenant_id=tenant.pk)
    with fleet_scope():
        lines = cut_up(SYSTEM, wanted, wanted).lines
        return trail_of(SYSTEM, wanted, lines, invoice)


def test_the_way_down_says_the_currency_of_the_invoice(acme, gateway):
    make_prices(ODD_PRICES)
    set_account(acme, currency="EUR", rate_source="ECB")
    spend(gateway, acme)
    month = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    assert trail(acme, *month).line.currency == "USD"
    note_rate()
    found = trail(acme, *month, bill_month(acme))
    assert (found.line.invoice, found.line.currency) == ("INV-000001", "EUR")


def test_the_way_down_counts_the_gpus_of_its_own_charge(acme, gateway):
    """Eight of them for a second, beside others, and beside a provider's."""
    prices = {"H100": "9", "": "1"}
    gpus = [read_line("chat", "gpu_second", price, "", of) for of, price in prices.items()]
    make_prices(more=[*gpus, *(read_line("chat", m, "1", "", "hosted") for m in TOKENS)])
    load(
        gateway,
        usage(acme, gpu_ms=1_000, gpus=8, gpu_product="H100"),
        usage(acme, gpu_ms=500, gpus=2, gpu_product="L40S", at=NOW.replace(minute=31)),
        usage(acme, gpu_ms=900, gpus=4, gpu_product="H100", hosted="Example AI"),
        now=NOW.replace(minute=40),
    )
    found = trail(acme, HOUR, HOUR.replace(hour=13))
    with fleet_scope():
        charge = Charge.objects.get(hour=HOUR, meter="gpu_second", amount=found.charge.amount)
    assert found.hour.quantity == found.request.quantity == charge.quantity
    assert found.request.amount == charge.amount
    assert found.hour.requests == 1
