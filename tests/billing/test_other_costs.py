"""What the fleet costs besides GPUs: read from files, spread over time and tenants, never lost."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.actions.allocation import allocate_due
from billing.actions.node_prices import set_gpu_prices
from billing.actions.other_costs import import_other_costs
from billing.models import OtherCost
from billing.queries.economics import economics
from billing.queries.other_costs import list_other_costs
from billing.rules.other_costs import (
    COLUMNS,
    Line,
    keys_of,
    read_file,
    spans_of,
    spread,
)
from fleet.models import Cluster, GpuTime, Service
from tenants.base.scope import fleet_scope
from tenants.errors import Forbidden, Invalid, NotFound
from tenants.models import AuditEvent
from tests.billing.factories import HOUR, NOW, SYSTEM, load, make_prices, usage, viewer

HEAD = ",".join(COLUMNS)
MONTH = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
LATER = HOUR + timedelta(hours=1, minutes=5)
ROW = "2026-11-01,2026-12-01,platform,Gateways and databases,,USD,720"
FOCUS = (
    "BilledCost,BillingCurrency,ChargePeriodEnd,ChargePeriodStart,EffectiveCost,ProviderName,"
    "ServiceName,x_ModelName\n"
    "9,USD,2026-12-01T00:00:00Z,2026-11-01T00:00:00Z,7.2,Example AI,Chat,chat\n"
)


def line(amount="720", model="", span=MONTH):
    return Line(*span, "platform", "x", model, "USD", Decimal(amount))


def test_it_reads_lines_of_its_own_form_and_of_focus():
    (ours,) = read_file(f"{HEAD}\n{ROW}\n").rows
    assert ours == Line(*MONTH, "platform", "Gateways and databases", "", "USD", Decimal(720))
    (hosted,) = read_file("\ufeff" + FOCUS).rows
    assert hosted == Line(*MONTH, "hosted", "Example AI: Chat", "chat", "USD", Decimal("7.2"))
    newer = FOCUS.replace("ProviderName", "ServiceProviderName").replace(",x_ModelName", "")
    (row,) = read_file(newer.replace(",chat\n", "\n")).rows
    assert (row.name, row.model) == ("Example AI: Chat", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Line 1 must be starts_at"),
        ("a,b\n1,2\n", "or a FOCUS file"),
        (FOCUS.replace("EffectiveCost", "Cost"), "EffectiveCost is missing"),
        (f"{HEAD}\n", "The file has no line"),
        (f"{HEAD}\n{ROW},more\n", "Line 2 has not as many cells as line 1"),
        (f"{HEAD}\n{ROW[:-4]}\n", "Line 2 has not as many cells as line 1"),
        (f"{HEAD}\n{ROW}\n{ROW.replace('720', 'much')}\n", "Line 3 has a time or an amount"),
        (f"{HEAD}\n{ROW.replace('2026-12-01', '2026-11-01')}\n", "it ends before it begins"),
        (f"{HEAD}\n{ROW.replace('platform', 'rent')}\n", "none of platform, hosted"),
        (f"{HEAD}\n{ROW.replace('USD', 'XAU')}\n", "'XAU' is no currency"),
        (f"{HEAD}\n{ROW.replace('720', '0.0000000000001')}\n", "at most 12 decimals"),
        (f"{HEAD}\n{ROW.replace('720', 'NaN')}\n", "at most 12 decimals"),
        (f"{HEAD}\n{ROW.replace('Gateways and databases', '')}\n", "give it a name"),
    ],
)
def test_it_refuses_a_file_with_the_line_that_is_wrong(text, said):
    assert said in read_file(text).faults[0]


@given(
    amount=st.decimals(-(10**9), 10**9, places=12),
    cuts=st.lists(st.integers(0, 40 * 24), min_size=2, max_size=8),
)
def test_parts_of_spans_that_follow_each_other_are_the_whole(amount, cuts):
    moments = [MONTH[0] - timedelta(days=2) + timedelta(hours=n) for n in sorted(cuts)]
    pairs = list(zip(moments, moments[1:], strict=False))
    one = line(amount)
    assert one.part(pairs) == one.part([(moments[0], moments[-1])])
    assert one.part([(MONTH[0] - timedelta(days=9), MONTH[1] + timedelta(days=9))]) == amount


@given(
    amounts=st.lists(st.decimals(-(10**6), 10**6, places=12), max_size=5),
    direct=st.dictionaries(st.integers(1, 9), st.decimals(0, 10**6, places=12), max_size=5),
    tokens=st.dictionaries(st.integers(1, 9), st.integers(0, 10**9), max_size=5),
)
def test_what_tenants_bear_and_what_is_nobodys_are_all_of_it(amounts, direct, tokens):
    lines = [(line(a, "chat" if n % 2 else ""), a) for n, a in enumerate(amounts)]
    found = spread(lines, direct, {("", "chat"): tokens})
    assert sum(found.parts.values()) + found.unallocated == sum(amounts)


def test_hours_that_follow_each_other_are_one_span():
    hours = [HOUR, HOUR + timedelta(hours=1), HOUR + timedelta(hours=5)]
    assert [(b - a) / timedelta(hours=1) for a, b in spans_of(hours)] == [2, 1]
    assert spans_of([]) == []


def test_lines_that_are_alike_in_one_file_are_several():
    assert len(set(keys_of([line(), line(), line("721")]))) == 3
    assert keys_of([line()]) == keys_of([line("720.00")])


def recorded(text, who=SYSTEM):
    with fleet_scope():
        done = import_other_costs(who, text, now=NOW)
    return done.new, done.known


@pytest.mark.django_db
def test_the_same_file_twice_is_written_once_and_nothing_is_changed(fin):
    assert recorded(f"{HEAD}\n{ROW}\n{ROW}\n", fin) == (2, 0)
    assert recorded(f"{HEAD}\n{ROW}\n{ROW}\n{ROW.replace('720', '-20')}\n", fin) == (1, 2)
    with fleet_scope():
        assert [c.amount for c in list_other_costs(fin)] == [-20, 720, 720]
        assert {c.recorded_by for c in OtherCost.objects.all()} == {fin.email}
        assert AuditEvent.objects.filter(verb="other_cost.record").count() == 2
        for change in ("UPDATE other_cost SET amount = 1", "DELETE FROM other_cost"):
            with pytest.raises(DatabaseError), transaction.atomic():
                connection.cursor().execute(change)


OF_ACCOUNTS = "BillingAccountId,ResourceId," + FOCUS.replace("\n9,", "\n{},9,")


@pytest.mark.django_db
def test_bills_of_two_accounts_that_are_alike_both_count(fin):
    one, two = (OF_ACCOUNTS.format(of) for of in ("a-1,", "a-2,"))
    node = OF_ACCOUNTS.format("a-1,node-2")
    assert recorded(one, fin) == (1, 0)
    assert recorded(two + one.splitlines()[1] + "\n", fin) == (1, 1)
    assert recorded(node, fin) == (1, 0), "the rest of a bill that was too long for one file"
    assert [recorded(text, fin) for text in (one, two, node)] == [(0, 1)] * 3


@pytest.mark.django_db
def test_a_line_that_was_recorded_without_its_account_is_known(fin):
    assert recorded(FOCUS, fin) == (1, 0)
    assert recorded(OF_ACCOUNTS.format("a-1,"), fin) == (0, 1)


@pytest.mark.django_db
def test_one_wrong_line_refuses_all_of_the_file(fin):
    with pytest.raises(Invalid, match="Line 3"):
        recorded(f"{HEAD}\n{ROW}\n{ROW.replace('USD', 'XAU')}\n", fin)
    with fleet_scope():
        assert not OtherCost.objects.exists()


@pytest.mark.django_db
def test_they_are_of_the_fleet_and_for_those_who_keep_its_books(acme):
    for who, refusal in (viewer("finance", acme), NotFound), (viewer("viewer"), Forbidden):
        with pytest.raises(refusal):
            recorded(f"{HEAD}\n{ROW}\n", who)
        with fleet_scope(), pytest.raises(refusal):
            list_other_costs(who)


@pytest.fixture
def attributed(acme, globex, gateway):
    """One hour with a known cost, in which acme had three quarters of the work."""
    make_prices()
    with fleet_scope():
        cluster = Cluster.objects.create(slug="dc1", name="DC", region="here")
        service = Service.objects.create(name="chat", cluster=cluster)
        hourly = {"H100": Decimal("2.60")}
        start = HOUR - timedelta(days=30)
        set_gpu_prices(SYSTEM, currency="USD", hourly=hourly, starts_at=start, now=NOW, why="x")
        GpuTime.objects.create(
            hour=HOUR, cluster=cluster, gpu_product="H100", state="serving", service=service,
            gpu_ms=3_600_000,
        )  # fmt: skip
    used = {"service_id": service.pk}
    load(gateway, usage(acme, **used, gpu_ms=900_000), usage(globex, **used, gpu_ms=300_000))
    allocate_due(LATER)


@pytest.mark.django_db
@pytest.mark.usefixtures("attributed")
def test_the_bill_has_the_part_of_hours_whose_cost_is_known():
    dear = "2026-11-01,2026-12-01,hosted,Example AI: Chat,chat,USD,144"
    nobodys = "2026-11-01,2026-12-01,hosted,Example AI: Code,code,USD,72"
    yen = "2026-11-01,2026-12-01,platform,Office,,JPY,720"
    other_month = ROW.replace("2026-12-01", "2026-11-02")
    before = found_economics()
    recorded("\n".join((HEAD, ROW, dear, nobodys, yen, other_month)))
    found = found_economics()
    assert (found.other.platform, found.other.hosted) == (1, Decimal("0.3")), "one hour of 720"
    assert found.other.unallocated == Decimal("0.1")
    assert found.other.otherwise == (("JPY", Decimal(1)),)
    assert found.bill == before.bill and found.left_over == 0
    assert found.whole == found.bill + Decimal("1.3")
    assert found.margin == before.margin - Decimal("1.3")
    by_tenant = {m.name: m.other for m in found.tenants}
    assert by_tenant == {"acme": Decimal("0.85"), "globex": Decimal("0.35")}
    nets = {m.name: m.net for m in before.tenants}
    assert all(m.net == nets[m.name] - m.other for m in found.tenants)


def found_economics():
    with fleet_scope():
        return economics(SYSTEM, HOUR, LATER, now=LATER)
