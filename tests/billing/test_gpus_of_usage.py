"""Whose GPUs answered, which and how many: from the event to the hour and to the cost of it."""

import hashlib
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
from django.db.models import Sum

from billing.actions.allocation import allocate_due
from billing.actions.ingest import ingest
from billing.actions.node_prices import set_gpu_prices
from billing.models import Allocation, UsageEvent, UsageHour, UsageQuarantine
from billing.rules.allocation import Consumer, GpuPool, allocate_pool, pool_cost
from billing.rules.events import Accepted, Refused, read_event
from fleet.models import Cluster, GpuTime, Service
from gateway.contract.usage import UsageEvent as Event
from tenants.base.scope import fleet_scope
from tests.billing.factories import HOUR, NOW, SYSTEM, batch, cloud, load, usage

LATER = HOUR + timedelta(hours=1, minutes=5)
PRICE = Decimal("2.60")
FULL = 3_600_000


def read(data):
    return read_event(msgspec.json.encode(cloud(data)), NOW)


def test_an_event_without_gpus_has_the_digest_that_it_always_had(acme, db):
    data = usage(acme)
    old = msgspec.to_builtins(msgspec.convert(data, Event))
    for name in ("gpus", "gpu_product", "hosted"):
        del old[name]
    found = read(data)
    assert isinstance(found, Accepted)
    assert found.sha == hashlib.sha256(msgspec.json.encode(old)).digest()
    assert read(data | {"gpus": 8}).sha != found.sha != read(data | {"hosted": "x"}).sha


@pytest.mark.parametrize(
    "changes",
    [{"gpus": 1_001}, {"gpus": -1}, {"gpu_product": "x" * 121}, {"hosted": "a, b"}],
)
def test_it_keeps_out_what_no_engine_has(acme, db, changes):
    assert isinstance(read(usage(acme, **changes)), Refused)


def hours(**of):
    with fleet_scope():
        rows = UsageHour.objects.filter(**of).order_by("hosted", "gpu_product")
        return list(rows.values_list("hosted", "gpu_product", "requests", "gpu_ms"))


def test_hours_keep_gpu_time_by_product_and_by_whose_it_is(acme, gateway):
    load(
        gateway,
        usage(acme, gpu_ms=700),
        usage(acme, gpu_ms=700, gpus=8, gpu_product="H100"),
        usage(acme, gpu_ms=300, gpus=8, gpu_product="H100"),
        usage(acme, gpu_ms=100, gpus=2, gpu_product="L40S"),
        usage(acme, gpu_ms=900, hosted="Example AI", gpus=4, gpu_product="B200"),
    )
    assert hours() == [
        ("", "", 1, 700),
        ("", "H100", 2, 8_000),
        ("", "L40S", 1, 200),
        ("Example AI", "B200", 1, 3_600),
    ]
    with fleet_scope():
        assert UsageEvent.objects.exclude(hosted="").get().hosted == "Example AI"


def test_an_event_that_is_sent_again_after_an_upgrade_changes_nothing(acme, gateway):
    """Its digest was made by a door that did not know the fields."""
    data = usage(acme)
    load(gateway, data)
    again = ingest(gateway, batch(data), now=NOW)
    full = ingest(gateway, batch(data | {"gpus": 1, "gpu_product": "", "hosted": ""}), now=NOW)
    assert (again.duplicates, full.duplicates) == (1, 1)
    with fleet_scope():
        assert not UsageQuarantine.objects.exists()


@pytest.fixture
def service(db):
    """Eight GPUs of its own that served all of the hour, and one of a cluster that others run."""
    with fleet_scope():
        own = Cluster.objects.create(slug="dc1", name="DC 1", region="here")
        other = Cluster.objects.create(slug="away", name="Away", region="there", hosted=True)
        service = Service.objects.create(name="chat", cluster=own)
        set_gpu_prices(
            SYSTEM,
            currency="USD",
            hourly={"H100": PRICE, "B200": Decimal(5)},
            starts_at=HOUR - timedelta(days=30),
            now=NOW,
            why="tests",
        )
        for cluster, product, ms in ((own, "H100", 8 * FULL), (other, "B200", FULL)):
            GpuTime.objects.create(
                hour=HOUR,
                cluster=cluster,
                gpu_product=product,
                state="serving",
                service=service,
                gpu_ms=ms,
            )
    return service


def shares(product):
    with fleet_scope():
        rows = Allocation.objects.filter(pool__run__is_current=True, pool__product=product)
        return {
            (kind, tenant): amount
            for kind, tenant, amount in rows.values_list("kind", "tenant_id").annotate(
                s=Sum("amount")
            )
        }


def test_a_busy_replica_of_eight_gpus_leaves_none_of_them_idle(service, acme, gateway):
    used = {"service_id": service.pk, "gpu_product": "H100", "gpus": 8}
    load(gateway, *(usage(acme, gpu_ms=FULL // 4, **used) for _ in range(4)))
    allocate_due(LATER)
    assert shares("H100") == {("tenant", acme.pk): 8 * PRICE}


def test_what_a_hosted_provider_answered_takes_no_gpu_of_ours(service, acme, globex, gateway):
    """Without it acme would bear ten times what it does."""
    own = {"service_id": service.pk, "gpus": 8, "gpu_product": "H100"}
    load(
        gateway,
        usage(acme, gpu_ms=FULL // 10, **own),
        usage(globex, gpu_ms=FULL // 10, **own),
        usage(acme, service_id=service.pk, gpu_ms=FULL, hosted="away"),
    )
    allocate_due(LATER)
    found = shares("H100")
    assert (
        found["tenant", acme.pk] == found["tenant", globex.pk] == pool_cost(8 * FULL // 10, PRICE)
    )
    assert sum(found.values()) == 8 * PRICE
    assert shares("B200") == {("tenant", acme.pk): Decimal(5)}


def test_old_events_count_one_gpu(service, acme, gateway):
    load(gateway, usage(acme, service_id=service.pk, gpu_ms=FULL))
    allocate_due(LATER)
    assert shares("H100") == {("tenant", acme.pk): PRICE, ("idle", None): 7 * PRICE}


def test_hosted_pools_do_not_change_the_text_that_inputs_are_known_by():
    own = GpuPool("dc1", "H100", "serving", 1, "chat", FULL)
    assert "hosted" not in str(own)
    assert (own.source, GpuPool("a", "b", "serving", 1, "c", 1, hosted=True).source) == (
        (1, False),
        (1, True),
    )
    assert allocate_pool(own, PRICE, {Consumer(1, 1, "chat"): FULL}, FULL)[0].amount == PRICE
