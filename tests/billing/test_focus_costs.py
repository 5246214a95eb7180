"""The cost file: the fleet's bill split to tenants, idle, overhead and unallocated, to the unit."""

import io
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billing.actions.allocation import allocate_due
from billing.actions.exports import request_export
from billing.actions.node_prices import set_gpu_prices
from billing.actions.other_costs import import_other_costs
from billing.actions.reservations import reserve_gpus
from billing.drive.exports import run_due
from billing.models import Allocation
from billing.queries.economics import economics
from billing.queries.exports import get_export, open_export
from billing.rules.allocation import IDLE, TENANT, split
from billing.rules.focus_cost_checks import fault_of_details, fault_of_split
from billing.rules.focus_costs import (
    COST_COLUMNS,
    KINDS,
    UNALLOCATED,
    CostShare,
    Origin,
    OriginKind,
    cost_rows,
)
from billing.rules.other_costs import COLUMNS
from fleet.models import Cluster, GpuTime, Node, Service
from sandbox.quality import focus
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Forbidden, NotFound
from tests.billing.billed import rows_of_file
from tests.billing.factories import HOUR, NOW, SYSTEM, load, make_prices, usage, viewer

LATER = HOUR + timedelta(hours=1, minutes=5)
START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
VERSIONS = ("1.4", "1.3", "1.2")
SUMMED = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
OTHER = (
    "2026-11-01,2026-12-01,platform,Gateways and databases,,USD,720",
    "2026-11-01,2026-12-01,platform,Given back,,USD,-20.5",
    "2026-11-01,2026-12-01,hosted,Example AI: Chat,chat,EUR,100.000000000001",
    "2026-11-01,2026-12-01,hosted,Example AI: Nobody's,nobody,USD,33",
)


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"


@pytest.fixture
def fleet(acme, globex, gateway):
    """Two hours of GPUs that served, loaded and were free, with all that can be spread."""
    make_prices()
    hours = HOUR, HOUR - timedelta(hours=30)
    with fleet_scope():
        cluster = Cluster.objects.create(slug="dc1", name="DC 1", region="eu-north-1")
        for number in range(2):
            Node.objects.create(
                cluster=cluster, name=f"n{number}", zone="eu-north-1b", changed_at=NOW,
                observed_at=NOW,
            )  # fmt: skip
        service = Service.objects.create(name="chat", cluster=cluster)
        prices = {"H100": Decimal("2.6000000001"), "L4": Decimal(0)}
        set_gpu_prices(
            SYSTEM, currency="USD", hourly=prices, starts_at=HOUR - timedelta(days=30), now=NOW,
            why="tests",
        )  # fmt: skip
        for hour in hours:
            for product, state, ms in (
                ("H100", "serving", 7_200_001), ("H100", "loading", 600_007),
                ("H100", "free", 3_600_000), ("L4", "free", 3_600_000), ("A1", "free", 5_000),
            ):  # fmt: skip
                GpuTime.objects.create(
                    hour=hour, cluster=cluster, gpu_product=product, state=state, gpu_ms=ms,
                    service=service if state != "free" else None,
                )  # fmt: skip
        lines = "\n".join((",".join(COLUMNS), *OTHER))
        import_other_costs(SYSTEM, lines, now=NOW)
        reserve_gpus(
            SYSTEM, tenant_id=globex.pk, product="H100", gpus=1, starts_at=HOUR, now=NOW, why="x"
        )
    for at in hours:
        load(
            gateway,
            usage(acme, at=at + timedelta(minutes=10), service_id=service.pk, gpu_ms=1_234_567),
            usage(globex, at=at + timedelta(minutes=11), service_id=service.pk, gpu_ms=345_679),
        )
    while allocate_due(LATER):
        pass
    return service


def export(who, format="focus-1.4-cost", file_type="csv", tenant=None):
    with scope_of(who):
        job = request_export(
            who, format=format, file_type=file_type, starts_at=START, ends_at=END, now=LATER,
            tenant_id=tenant.pk if tenant else None,
        )  # fmt: skip
    made = run_due(LATER)
    with scope_of(who):
        assert made == 1, get_export(who, job.pk).why
        artifact, data = open_export(who, job.pk)
        with data:
            return artifact, data.read()


def by(rows, *names):
    found = defaultdict(Decimal)
    for row in rows:
        found[tuple(row[n] for n in names)] += Decimal(row["BilledCost"])
    return dict(found)


@pytest.mark.django_db
@pytest.mark.usefixtures("fleet")
def test_a_line_of_less_than_a_second_does_not_stop_the_file(fiona):
    at = HOUR + timedelta(minutes=10)
    span = f"{at.isoformat()[:19]}.2,{at.isoformat()[:19]}.7"
    with fleet_scope():
        head = ",".join(COLUMNS)
        import_other_costs(SYSTEM, f"{head}\n{span},hosted,Example AI: One,chat,USD,3", now=NOW)
    _, data = export(fiona)
    rows = [r for r in rows_of_file(data) if r["ResourceName"] == "Example AI: One"]
    assert sum(Decimal(r["BilledCost"]) for r in rows) == 3
    stamp = f"{at:%Y-%m-%dT%H:%M}"
    ends = {(r["ChargePeriodStart"], r["ChargePeriodEnd"]) for r in rows}
    assert ends == {(f"{stamp}:00Z", f"{stamp}:01Z")}


@pytest.mark.django_db
@pytest.mark.parametrize("version", VERSIONS)
def test_the_file_is_the_bill_of_the_economics_page(fleet, fiona, version):
    artifact, data = export(fiona, f"focus-{version}-cost")
    rows = rows_of_file(data)
    assert list(rows[0]) == list(COST_COLUMNS[version])
    with fleet_scope():
        page = economics(SYSTEM, START, END, now=LATER)
    dollars = by([r for r in rows if r["BillingCurrency"] == "USD"], "x_AllocationKind")
    kinds = {kind: amount for (kind,), amount in dollars.items()}
    assert sum(kinds.values()) == page.whole
    assert kinds["idle"] == page.idle and kinds["overhead"] == page.overhead
    assert kinds["unallocated"] == page.other.unallocated > 0
    assert kinds["tenant"] == page.attributed + sum(page.other.by_tenant.values())
    sums = {c: Decimal(s) for c, s in artifact.sums.items()}
    assert sums == {"USD": page.whole, "EUR": page.other.otherwise[0][1]}


@pytest.mark.django_db
def test_each_origin_is_split_whole(fleet, fiona):
    _, data = export(fiona)
    origins = defaultdict(list)
    for row in rows_of_file(data):
        origins[row["x_OriginId"]].append(row)
    with fleet_scope():
        shares = Allocation.objects.filter(pool__run__is_current=True)
        amounts = {f"gpu-pool/{a.pool_id}": a.pool.cost for a in shares.select_related("pool")}
    for name, rows in origins.items():
        details = [json.loads(r["AllocatedMethodDetails"], parse_float=Decimal) for r in rows]
        assert sum(d["Elements"][0]["AllocatedRatio"] for d in details) == 1
        for cost in SUMMED[:4]:
            assert sum(Decimal(r[cost]) for r in rows) == amounts.get(
                name, by(rows, "x_OriginId")[name,]
            )
        split_sum = sum(Decimal(r["BilledCost"]) for r in rows)
        for row, detail in zip(rows, details, strict=True):
            share = split_sum * detail["Elements"][0]["AllocatedRatio"]
            assert abs(share - Decimal(row["BilledCost"])) < Decimal("1e-8")
    assert amounts.keys() <= origins.keys()


@pytest.mark.django_db
def test_it_says_whose_a_share_is_and_where_its_gpus_are(fleet, acme, fiona):
    _, data = export(fiona)
    rows = rows_of_file(data)
    (mine,) = [
        r for r in rows
        if r["x_TenantId"] == "tenant-acme" and r["ChargePeriodStart"] == "2026-11-20T12:00:00Z"
    ]  # fmt: skip
    assert mine["AllocatedResourceId"] == f"tenant-acme/application-{acme.app.pk}/service/chat"
    assert mine["AllocatedResourceName"] == "Acme, app, chat"
    assert json.loads(mine["AllocatedTags"])["tenant"] == "acme"
    assert mine["AllocatedMethodId"] == "engine-time-1"
    assert (mine["RegionId"], mine["AvailabilityZone"]) == ("eu-north-1", "eu-north-1b")
    (element,) = json.loads(mine["AllocatedMethodDetails"])["Elements"]
    assert (element["UsageUnit"], element["UsageQuantity"]) == ("GPU-Seconds", 1234.567)
    idle = [r for r in rows if r["x_AllocationKind"] == "idle"]
    assert {r["AllocatedTags"] for r in idle} == {'{"allocation": "idle"}'}
    reserved = [r for r in rows if r["x_ModelName"] == "reserved idle"]
    assert {r["x_TenantId"] for r in reserved} == {"tenant-globex"}
    assert {r["BillingAccountId"] for r in rows} == {"fleet"}
    assert not [r for r in rows if r["SkuId"] == "gpu/A1"], "nobody gave it a price"


@pytest.mark.django_db
def test_a_zone_that_is_not_one_is_left_out(fleet, fiona):
    with fleet_scope():
        Node.objects.filter(name="n1").update(zone="eu-north-1a")
    _, data = export(fiona)
    gpus = [r for r in rows_of_file(data) if r["ServiceName"] == "GPU Fleet"]
    assert {r["AvailabilityZone"] for r in gpus} == {""}
    assert {r["RegionId"] for r in gpus} == {"eu-north-1"}


@pytest.mark.django_db
def test_a_tenants_file_has_its_shares_alone(fleet, acme, fiona):
    _, everything = export(fiona)
    artifact, data = export(fiona, tenant=acme)
    mine = [r for r in rows_of_file(everything) if r["x_TenantId"] == "tenant-acme"]
    assert rows_of_file(data) == mine
    assert Decimal(artifact.sums["USD"]) == by(mine, "BillingCurrency")[("USD",)]


@pytest.mark.django_db
def test_it_says_until_when_cost_is_attributed(fleet, fiona):
    artifact, _ = export(fiona)
    assert artifact.complete_until == HOUR + timedelta(hours=1)
    assert artifact.manifest["is_complete"] is False
    with fleet_scope():
        GpuTime.objects.create(
            hour=HOUR - timedelta(hours=5), cluster=fleet.cluster, gpu_product="H100",
            state="free", gpu_ms=1,
        )  # fmt: skip
    late, _ = export(fiona)
    assert late.complete_until == HOUR - timedelta(hours=5)


@pytest.mark.django_db
def test_parquet_has_the_same_sums(fleet, fiona):
    artifact, data = export(fiona, file_type="parquet")
    table = pq.read_table(io.BytesIO(data))
    assert table.num_rows == artifact.rows
    sums = table.group_by("BillingCurrency").aggregate([("EffectiveCost", "sum")]).to_pylist()
    found = {row["BillingCurrency"]: row["EffectiveCost_sum"] for row in sums}
    assert found == {currency: Decimal(s) for currency, s in artifact.sums.items()}


@pytest.mark.django_db
def test_the_official_validator_passes_the_cost_file(fleet, fiona, tmp_path):
    artifact, data = export(fiona, "focus-1.2-cost")
    file = tmp_path / artifact.filename
    file.write_bytes(data)
    verdict = focus.validate(file)
    assert verdict.failed == ()
    assert verdict.passed > 250


@pytest.mark.django_db
def test_the_fleets_cost_is_not_a_tenants_to_ask_for(fleet, globex, mallory):
    wanted = {"format": "focus-1.4-cost", "starts_at": START, "ends_at": END, "now": LATER}
    with scope_of(mallory), pytest.raises((Forbidden, NotFound)):
        request_export(mallory, tenant_id=globex.pk, **wanted)
    with pytest.raises(Forbidden):
        request_export(viewer("viewer"), **wanted)


shares = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 10**12), st.integers(0, 10**18)),
    min_size=1,
    max_size=12,
)


@given(
    ms=st.integers(1, 10**10),
    price=st.integers(0, 10**15),
    parts=shares,
    sign=st.sampled_from((1, -1)),
)
@example(ms=1, price=0, parts=[("idle", 0, 0)], sign=-1)
def test_any_split_adds_up_in_cost_quantity_and_ratio(ms, price, parts, sign):
    hourly = Decimal(price).scaleb(-12)
    cost = sign * (hourly * ms / 3_600_000).quantize(Decimal("1e-12"))
    weights = [w for _, _, w in parts]
    amounts = split(abs(cost), weights if any(weights) else [1] * len(parts))
    found = [
        CostShare(
            *(kind, sign * amount, Decimal(used).scaleb(-3), "GPU-Seconds"),
            tenant="acme" if kind == TENANT else "",
            tenant_name="Acme",
        )
        for (kind, used, _), amount in zip(parts, amounts, strict=True)
    ]
    made = origin(cost, sign * Decimal(ms).scaleb(-3), (hourly / 3600).quantize(Decimal("1e-12")))
    rows = cost_rows(made, found, "Fleet")
    for version in VERSIONS:
        assert fault_of_split(rows, cost=cost, quantity=made.quantity, version=version) == ""


def origin(cost=Decimal("1.5"), quantity=Decimal("3000.000"), price=Decimal("0.0005")):
    return Origin(
        id="gpu-pool/1", kind=OriginKind.GPUS, name="dc1 H100, serving", starts_at=HOUR,
        ends_at=HOUR + timedelta(hours=1), period_start=START, period_end=END, currency="USD",
        cost=cost, quantity=quantity, unit="GPU-Seconds", unit_price=price, sku="gpu/H100",
        price_id="gpu-prices-1/1", details=(("x_GpuProduct", "H100"),), method="engine-time-1",
    )  # fmt: skip


def two_rows():
    who = {"tenant": "acme", "tenant_name": "Acme"}
    mine = CostShare(TENANT, Decimal("0.5"), Decimal(1000), "GPU-Seconds", **who)
    rest = CostShare(IDLE, Decimal("1.0"), Decimal(2000), "GPU-Seconds")
    return cost_rows(origin(), [mine, rest], "Fleet")


def details(ratio="0.3", unit="GPU-Seconds", quantity="1", more=""):
    element = f'"AllocatedRatio":{ratio},"UsageUnit":"{unit}","UsageQuantity":{quantity}{more}'
    return f'{{"Elements":[{{{element}}}]}}'


BROKEN = {
    "ratios that do not add up": {"AllocatedMethodDetails": details("0.3")},
    "a ratio above 1": {"AllocatedMethodDetails": details("1.3")},
    "details that are no JSON": {"AllocatedMethodDetails": "0.3"},
    "details without elements": {"AllocatedMethodDetails": '{"Elements":[]}'},
    "an element with more members": {"AllocatedMethodDetails": details(more=',"x":1')},
    "a unit in lower case": {"AllocatedMethodDetails": details(unit="tokens")},
    "a share that is nobody's": {"AllocatedResourceId": ""},
    "no method": {"AllocatedMethodId": ""},
    "a tenant's share without the tenant": {"x_TenantId": ""},
    "a kind that is none": {"x_AllocationKind": "lost"},
    "another amount": {"EffectiveCost": "0.400000000000"},
    "an amount that price and quantity do not make": dict.fromkeys(
        ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), "0.400000000000"
    ),
    "another quantity": {"PricingQuantity": "999.999999"},
    "another resource than the origin's": {"ResourceId": "gpu-pool/2"},
    "another region": {"RegionId": "moon"},
    "tags that are a list": {"AllocatedTags": "[]"},
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_it_finds_an_origin_with(case):
    given = {"cost": Decimal("1.5"), "quantity": Decimal("3000.000")}
    rows = two_rows()
    assert fault_of_split(rows, **given) == ""
    assert fault_of_split([rows[0] | BROKEN[case], rows[1]], **given)


def test_it_finds_a_share_that_is_missing():
    assert fault_of_split(two_rows()[:1], cost=Decimal("1.5"), quantity=Decimal(3000))
    assert fault_of_split([], cost=Decimal(0), quantity=Decimal(0)) == "an origin has no share"


def test_details_are_as_focus_has_them():
    assert fault_of_details(two_rows()[0]["AllocatedMethodDetails"]) == ""
    assert UNALLOCATED in KINDS
