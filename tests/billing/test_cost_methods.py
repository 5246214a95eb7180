"""Choosing how cost is shared, and the weights that it takes: versioned, dated, never changed."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Sum

from billing.actions.allocation import allocate_due
from billing.actions.cost_methods import calibrate_due, choose_method
from billing.actions.node_prices import set_gpu_prices
from billing.drive.checks import check_all
from billing.models import Allocation, AllocationRun, CostDay, CostMethod, WorkWeight
from fleet.models import Cluster, GpuTime, Service
from tenants.base.scope import fleet_scope, tenant_scope
from tenants.errors import Forbidden, Invalid, NotFound
from tenants.models import AuditEvent
from tests.billing.factories import HOUR, NOW, SYSTEM, load, usage, viewer

pytestmark = pytest.mark.django_db
NEXT = HOUR + timedelta(hours=1)
LATER = NEXT + timedelta(hours=1, minutes=5)
RELEASE = "rel-0123456789ab"


@pytest.fixture
def fleet():
    with fleet_scope():
        cluster = Cluster.objects.create(slug="dc1", name="DC 1", region="here")
        service = Service.objects.create(name="chat", cluster=cluster)
        set_gpu_prices(
            SYSTEM, currency="USD", hourly={"H100": Decimal("2.60")},
            starts_at=HOUR - timedelta(days=30), now=NOW, why="tests",
        )  # fmt: skip
        for hour in HOUR, NEXT:
            GpuTime.objects.create(
                hour=hour, cluster=cluster, gpu_product="H100", state="serving",
                service=service, gpu_ms=3_600_000,
            )  # fmt: skip
    return service


def answers(tenant, service, number=250, *, at=NOW, **changes):
    """Requests whose engine time is 0.1 ms a fresh prompt token and 10 ms a completion token."""
    for n in range(number):
        fresh, completion = 100 + 37 * (n % 50), 5 + n % 23
        yield usage(
            tenant,
            at=at + timedelta(milliseconds=n),
            service_id=service.pk,
            prompt_tokens=fresh + 500,
            cached_tokens=500,
            completion_tokens=completion,
            gpu_ms=round(fresh * 0.1 + completion * 10),
            **changes,
        )


def choose(method="token-work-1", starts_at=NEXT, why="Prompts are cheap", by=SYSTEM, now=NOW):
    with fleet_scope():
        return choose_method(by, method, starts_at=starts_at, why=why, now=now)


def test_weights_are_fitted_once_a_day_and_count_from_the_next_hour(fleet, acme, gateway):
    load(gateway, *answers(acme, fleet))
    at = NOW + timedelta(minutes=1)
    assert calibrate_due(at) == 1
    assert calibrate_due(at + timedelta(hours=23)) == 0
    with fleet_scope():
        row = WorkWeight.objects.get()
    assert (row.release, row.number, row.starts_at) == (RELEASE, 1, NEXT)
    assert row.usable
    assert row.prefill_ns == pytest.approx(100_000, rel=0.02)
    assert row.decode_ns == pytest.approx(10_000_000, rel=0.01)
    assert (row.samples, row.fit > Decimal("0.99")) == (250, True)
    later = at + timedelta(hours=24, minutes=1)
    load(gateway, *answers(acme, fleet, 3, at=at + timedelta(hours=24)), now=later)
    with fleet_scope():
        assert calibrate_due(later) == 1
        second = WorkWeight.objects.get(number=2)
    assert not second.usable
    assert second.why == "3 samples, 200 are needed"


def test_a_method_counts_from_its_hour_and_older_hours_keep_theirs(fleet, acme, globex, gateway):
    load(gateway, *answers(acme, fleet))
    calibrate_due(NOW + timedelta(minutes=1))
    choose()
    # The same engine time; one tenant's went into reading, the other's into waiting for nothing.
    for hour in HOUR, NEXT:
        at = hour + timedelta(minutes=20)
        same = {"at": at, "service_id": fleet.pk, "gpu_ms": 400_000}
        load(
            gateway,
            usage(acme, prompt_tokens=3_000_000, cached_tokens=1_000_000, **same),
            usage(globex, prompt_tokens=1_000_000, cached_tokens=0, completion_tokens=30, **same),
            now=LATER,
        )
    assert allocate_due(LATER) == 2
    with fleet_scope():
        methods = dict(AllocationRun.objects.values_list("hour", "method"))
        assert methods == {HOUR: "engine-time-1", NEXT: "token-work-1"}
        shares = Allocation.objects.filter(hour=NEXT, kind="tenant")
        amounts = {a.tenant_id: a for a in shares}
        mine, other = amounts[acme.pk], amounts[globex.pk]
        assert mine.amount > other.amount * Decimal("1.9")
        assert mine.saved == pytest.approx(mine.amount / 2, rel=Decimal("0.02"))
        assert other.saved == 0
        assert {mine.release, other.release} == {RELEASE}
        days = CostDay.objects.aggregate(a=Sum("amount"), s=Sum("saved"))
        assert days == {"a": Decimal("5.2"), "s": mine.saved}
    assert all(check.holds for check in check_all(HOUR - timedelta(days=1), HOUR))


def test_the_same_inputs_write_nothing_and_a_later_choice_changes_no_old_hour(fleet, acme, gateway):
    choose(now=HOUR - timedelta(hours=2), starts_at=HOUR)
    load(gateway, *answers(acme, fleet))
    allocate_due(LATER)
    with fleet_scope():
        before = list(AllocationRun.objects.order_by("hour").values_list("hour", "input_sha"))
    choose("engine-time-1", starts_at=LATER.replace(minute=0) + timedelta(hours=1), now=LATER)
    calibrate_due(LATER)
    assert allocate_due(LATER + timedelta(minutes=20)) == 0
    with fleet_scope():
        after = list(AllocationRun.objects.order_by("hour").values_list("hour", "input_sha"))
    assert after == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"method": "by-mood-1"}, "method"),
        ({"starts_at": HOUR}, "starts_at"),
        ({"starts_at": NEXT + timedelta(minutes=5)}, "starts_at"),
        ({"why": " "}, "why"),
    ],
)
def test_it_refuses_a_choice_that_would_change_the_past_or_says_nothing(change, field):
    with pytest.raises(Invalid) as refused:
        choose(**change)
    assert field in refused.value.fields
    with fleet_scope():
        assert not CostMethod.objects.exists()


def test_a_choice_is_audited_and_stays(fleet):
    choose()
    with fleet_scope():
        event = AuditEvent.objects.get(verb="cost_method.choose")
        assert event.before == {"method": "engine-time-1"}
        assert event.after["method"] == "token-work-1"
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE cost_method SET method = 'engine-time-1'")


def test_only_who_manages_the_fleets_money_chooses(acme):
    for somebody in (viewer("viewer"), viewer("finance", acme)):
        with pytest.raises((Forbidden, NotFound)):
            choose(by=somebody)


def test_a_tenant_reads_its_own_savings_only(fleet, acme, globex, gateway):
    choose(now=HOUR - timedelta(hours=2), starts_at=HOUR)
    load(gateway, *answers(acme, fleet, 5), *answers(globex, fleet, 5))
    allocate_due(LATER)
    with tenant_scope(acme.pk):
        assert {a.tenant_id for a in Allocation.objects.all()} == {acme.pk}
