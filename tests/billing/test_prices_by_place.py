"""Hosted providers and GPU products at prices of their own; what has none is listed, never free."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.actions.prices import draft_version
from billing.actions.publication import gateway_prices, shown
from billing.models import Charge, PriceBookVersion, UnpricedUsage
from billing.queries.by_release import sum_releases
from billing.queries.charged import ChargeFilter
from billing.rules.prices import PriceLine, faults_of_prices, read_line
from console.forms.money import price_line
from tenants.base.scope import fleet_scope
from tests.billing.factories import HOUR, SYSTEM, load, make_prices, settle, usage

TOKENS = ("prompt", "cached", "completion")


def on(place, *prices, model="chat"):
    return [
        read_line(model, meter, price, "", place)
        for meter, price in zip(TOKENS, prices, strict=False)
    ]


def charged():
    with fleet_scope():
        rows = Charge.objects.order_by("id").values_list(
            "meter", "runs_on", "quantity", "unit_price"
        )
        return {(m, place): (q, price * 1_000_000) for m, place, q, price in rows}


def unpriced():
    with fleet_scope():
        rows = UnpricedUsage.objects.values_list("meter", "runs_on", "quantity")
        return {(meter, place): quantity for meter, place, quantity in rows}


def test_a_hosted_answer_is_never_charged_at_the_own_price(acme, gateway):
    make_prices()
    load(gateway, usage(acme), usage(acme, hosted="Example AI"))
    assert charged() == {
        ("prompt", ""): (60, Decimal("0.5")),
        ("cached", ""): (40, Decimal("0.05")),
        ("completion", ""): (30, Decimal("1.5")),
    }
    assert unpriced() == {(m, "Example AI"): q for m, q in zip(TOKENS, (60, 40, 30), strict=True)}


def test_it_is_charged_as_soon_as_a_price_of_its_own_holds(acme, gateway):
    make_prices()
    load(gateway, usage(acme, hosted="Example AI"), usage(acme, hosted="Other"))
    lines = [*on("hosted", "2", "2", "4"), *on("Example AI", "3", "1", "9")]
    make_prices(more=lines, starts_at=HOUR - timedelta(days=1))
    settle()
    assert unpriced() == {}
    assert charged() == {
        ("prompt", "Example AI"): (60, Decimal(3)),
        ("cached", "Example AI"): (40, Decimal(1)),
        ("completion", "Example AI"): (30, Decimal(9)),
        ("prompt", "Other"): (60, Decimal(2)),
        ("cached", "Other"): (40, Decimal(2)),
        ("completion", "Other"): (30, Decimal(4)),
    }


def test_gpu_time_is_charged_by_product_and_else_by_the_line_for_all(acme, gateway):
    lines = [
        read_line("chat", "gpu_second", "0.001"),
        read_line("chat", "gpu_second", "0.003", "", "H100"),
    ]
    make_prices(more=lines)
    load(
        gateway,
        usage(acme, gpu_ms=1_000, gpus=8, gpu_product="H100"),
        usage(acme, gpu_ms=500, gpus=2, gpu_product="L40S"),
        usage(acme, gpu_ms=700),
        usage(acme, gpu_ms=900, gpus=4, gpu_product="H100", hosted="Example AI"),
    )
    found = {of[1]: of_price for of, of_price in charged().items() if of[0] == "gpu_second"}
    assert found == {
        "H100": (8, Decimal(3_000)),
        "L40S": (1, Decimal(1_000)),
        "": (Decimal("0.7"), Decimal(1_000)),
    }
    assert {place for _, place in unpriced()} == {"Example AI"}


def test_hosted_tokens_count_in_tiers_of_their_own(acme, gateway):
    tier = "tiered 100:1 rest:0.5"
    make_prices(more=[*on("hosted", tier, "0", "0")])
    load(gateway, usage(acme), usage(acme, hosted="A"), usage(acme, hosted="B"))
    with fleet_scope():
        rows = Charge.objects.filter(meter="prompt").exclude(runs_on="")
        found = {(p, price * 1_000_000): q for p, price, q in rows.values_list(
            "runs_on", "unit_price", "quantity")}  # fmt: skip
    assert found == {("A", 1): 60, ("B", 1): 40, ("B", Decimal("0.5")): 20}


def test_each_release_has_the_charges_of_what_it_answered(acme, gateway):
    make_prices(more=on("hosted", "2", "2", "4"))
    load(
        gateway,
        usage(acme, release="rel-own"),
        usage(acme, release="rel-own", gpus=2, gpu_product="H100"),
        usage(acme, release="rel-away", hosted="Example AI"),
    )
    day = HOUR.replace(hour=0)
    with fleet_scope():
        found = sum_releases(ChargeFilter(day, day + timedelta(days=1), tenant_id=acme.pk))
    million = Decimal(1_000_000)
    assert found == {
        ("chat", "rel-own"): 2 * Decimal("77") / million,
        ("chat", "rel-away"): Decimal(320) / million,
    }


def test_gateways_hold_by_the_own_price(db):
    make_prices(more=on("hosted", "2", "2", "4"))
    with fleet_scope():
        version = PriceBookVersion.objects.get()
        assert gateway_prices(version)["chat"].prompt == 500_000
        assert draft_version(SYSTEM, "list", prices=on("", "1", "1", "1")).number == 2


FAULTS = {
    "hosted GPUs": read_line("chat", "gpu_second", "1", "", "hosted"),
    "a factor": read_line("chat", "prompt", "factor 0.5", "", "hosted"),
    "a comma": read_line("chat", "request", "1", "", "a, b"),
    "only some tokens": read_line("chat", "prompt", "1", "", "Example AI"),
}


@pytest.mark.parametrize("line", FAULTS.values(), ids=FAULTS)
def test_it_refuses(line):
    own = [PriceLine("chat", meter, Decimal(1)) for meter in TOKENS]
    assert faults_of_prices([*own, line])
    assert not faults_of_prices(own)


def test_a_line_of_text_says_where_it_runs():
    line = price_line(1, ["chat", "prompt", "0.9", "batch", "on Example AI"])
    assert (line.traffic_class, line.runs_on) == ("batch", "Example AI")
    assert shown(line) == "chat, prompt, 0.9, batch, on Example AI"
    assert price_line(1, ["chat", "gpu_second", "0.9", "on H100"]).runs_on == "H100"
    assert shown(price_line(1, ["chat", "prompt", "0.9"])) == "chat, prompt, 0.9"


def test_gpu_time_of_a_product_that_nobody_priced_is_listed_where_that_of_others_is_sold(
    acme, gateway
):
    """Tokens cost nothing on purpose: else nothing of it would be seen."""
    free = {"chat": dict.fromkeys(TOKENS, Decimal(0))}
    make_prices(free, more=[read_line("chat", "gpu_second", "0.0012", "", "H100")])
    for product, more in (("H100", {}), ("B200", {}), ("B200", {"model": "embed"})):
        load(gateway, usage(acme, at=HOUR, gpu_product=product, gpu_ms=3_600_000, **more))
    assert {k: v for k, v in charged().items() if k[0] == "gpu_second"} == {
        ("gpu_second", "H100"): (3_600, 1_200)
    }
    assert {k: v for k, v in unpriced().items() if k[0] == "gpu_second"} == {
        ("gpu_second", "B200"): 3_600  # of chat; nobody sells GPU time of embed
    }
