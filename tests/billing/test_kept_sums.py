"""Whatever is attributed, granted, billed and given back: the sums of the check hold, in the
database. Each example is undone, so that the next one finds empty books."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from billing.actions.allocation import allocate_due
from billing.actions.credits import Given, issue_credit_note
from billing.actions.node_prices import set_gpu_prices
from billing.drive.checks import check_all
from billing.models import Allocation, CostPool, JournalLeg
from billing.queries.invoices import get_invoice
from fleet.models import Cluster, GpuTime, Service
from tenants.base.scope import fleet_scope
from tests.billing.books import NOVEMBER, OCTOBER, bill_month, set_account, spend, tax
from tests.billing.damaged import LATER
from tests.billing.factories import HOUR, SYSTEM, load, make_prices, usage
from tests.billing.granted import granted

pytestmark = pytest.mark.django_db
FEW = settings(
    max_examples=8, derandomize=True, suppress_health_check=list(HealthCheck), deadline=None
)
PICO = Decimal("1e-12")
prices = st.decimals("0.000000000001", "99", places=12)
cents = st.integers(1, 400).map(lambda n: Decimal(n) / 100)


def check(since):
    assert [c for c in check_all(since, NOVEMBER) if not c.holds] == []


@FEW
@example(hourly=PICO, times=[1], used=[1, 1, 1])
@given(
    hourly=prices,
    times=st.lists(st.integers(1, 3_600_000), min_size=1, max_size=3),
    used=st.lists(st.integers(0, 3_600_000), min_size=1, max_size=4),
)
def test_shares_add_up_to_their_pools_to_the_last_unit(acme, globex, gateway, hourly, times, used):
    with transaction.atomic():
        with fleet_scope():
            attribute(hourly, times, used, (acme, globex), gateway)
            pools = {p.pk: p.cost for p in CostPool.objects.all()}
            assert len(pools) == len(times) + 1
            for pk, cost in pools.items():
                assert sum(a.amount for a in Allocation.objects.filter(pool_id=pk)) == cost
        check(HOUR - timedelta(days=1))
        transaction.set_rollback(True)


def attribute(hourly, times, used, tenants, gateway):
    cluster = Cluster.objects.create(slug="dc1", name="DC 1", region="here")
    set_gpu_prices(
        SYSTEM, currency="USD", hourly={"H100": hourly},
        starts_at=HOUR - timedelta(days=30), now=NOVEMBER, why="tests",
    )  # fmt: skip
    names = [Service.objects.create(name=f"chat-{n}", cluster=cluster) for n in range(len(times))]
    GpuTime.objects.create(
        hour=HOUR, cluster=cluster, gpu_product="H100", state="free", gpu_ms=999_983
    )
    for service, gpu_ms in zip(names, times, strict=True):
        GpuTime.objects.create(
            hour=HOUR, cluster=cluster, gpu_product="H100", state="serving", service=service,
            gpu_ms=gpu_ms,
        )  # fmt: skip
    events = [
        usage(tenants[n % 2], at=HOUR + timedelta(minutes=n + 1), gpu_ms=ms,
              service_id=names[n % len(names)].pk)
        for n, ms in enumerate(used)
    ]  # fmt: skip
    load(gateway, *events, now=HOUR + timedelta(minutes=30))
    assert allocate_due(LATER) == 1


@FEW
@example(unit=Decimal(999), tokens=[333], credits=[(Decimal("0.01"), True)], rate="0.19", back=2)
@given(
    unit=st.decimals("0.000001", "99000", places=6),
    tokens=st.lists(st.integers(1, 9_999), min_size=1, max_size=3),
    credits=st.lists(st.tuples(cents, st.booleans()), max_size=3),
    rate=st.sampled_from(["0", "0.077", "0.19"]),
    back=st.integers(0, 3),
)
def test_legs_balance_and_no_credit_is_lost(
    acme, gateway, fin, vic, unit, tokens, credits, rate, back
):
    with transaction.atomic():
        bought(acme, gateway, fin, vic, unit, tokens, credits, rate)
        invoice = bill_month(acme)
        if back:
            give_back(invoice, back)
        with fleet_scope():
            legs = JournalLeg.objects.values_list("txn_id", "amount")
            sums = {txn: sum(a for t, a in legs if t == txn) for txn, _ in legs}
            assert set(sums.values()) <= {0}
        check(OCTOBER - timedelta(days=9))
        transaction.set_rollback(True)


def bought(tenant, gateway, fin, vic, unit, tokens, credits, rate):
    make_prices({"chat": {"prompt": unit, "cached": Decimal(0), "completion": Decimal(7)}})
    set_account(tenant, taxes=(tax("VAT", rate),) if Decimal(rate) else ())
    for number, (amount, paid) in enumerate(credits):
        granted(
            fin, vic, tenant, now=OCTOBER, name=f"Credit {number}", amount=amount, paid=paid,
            reference=f"bank-{number}" if paid else "", priority=number + 1,
        )  # fmt: skip
    for number, count in enumerate(tokens):
        spend(gateway, tenant, at=OCTOBER + timedelta(hours=number), prompt_tokens=count + 40)


def give_back(invoice, part):
    """A part of what is left of the largest line."""
    with fleet_scope():
        found = get_invoice(SYSTEM, invoice.number)
        largest = max((x for x in found.lines if x.has_charges), key=lambda x: x.remains)
        left = min(largest.remains, found.row.net - found.credited_net)
        amount = (left / part).quantize(Decimal("0.01"), rounding="ROUND_DOWN")
        if amount > 0:
            given = [Given(largest.row.position, amount)]
            issue_credit_note(SYSTEM, invoice.number, lines=given, why="Outage", now=NOVEMBER)
