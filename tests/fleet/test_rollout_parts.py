"""What the API tells of a rollout besides its state: pods, logs, traffic, money, and its close."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from fleet.models import Rollout, RolloutFetch, RolloutGpuTime, RolloutLog
from fleet.queries import prices
from fleet.queries.rollouts import current_rollouts
from fleet.rules.phases import Phase
from tenants.base.scope import scope_of
from tenants.models import AuditEvent
from tests.fleet.drive.stage import PRODUCT, make_stage, make_viewer

pytestmark = pytest.mark.django_db(transaction=True)
V1 = "/api/v1/"


@dataclass(frozen=True)
class Price:
    hourly: Decimal = Decimal("3.60")
    currency: str = "USD"
    sheet: int = 4


@pytest.fixture
def stage(monkeypatch):
    monkeypatch.setattr(prices, "_who", [lambda wanted, at, cluster: {p: Price() for p in wanted}])
    return make_stage()


@pytest.fixture
def broken(stage):
    release = stage.release("b")
    stage.fake.behaviours[release.fingerprint] = "crash"
    rollout = stage.propose(release)
    stage.approve(rollout)
    return stage.run(rollout)


def get(client, user, path):
    client.force_login(user)
    return client.get(V1 + path)


@pytest.fixture
def olga(stage, django_user_model):
    return django_user_model.objects.get(email="olga@example.com")


def test_pods_events_and_logs_are_there_after_the_way_back(client, olga, broken):
    found = get(client, olga, f"rollouts/{broken.pk}").json()
    gone = [p for p in found["pods"] if p["gone"]]
    assert [p["release"] for p in gone] == [broken.to_release.fingerprint]
    assert gone[0]["trouble"].startswith("CrashLoopBackOff")
    assert [(log["previous"], log["lines"]) for log in found["logs"]] == [(True, 3), (False, 3)]
    log = get(client, olga, f"rollouts/{broken.pk}/logs/{found['logs'][0]['id']}").json()
    assert "RuntimeError: before" in log["text"]
    assert found["cluster_events"] == []


def test_its_image_on_nodes_is_told(client, olga, broken):
    RolloutFetch.objects.create(
        rollout=broken, node="gpu-2", pod="chat-b-prefetch-1", state="registry",
        trouble="ImagePullBackOff: 503", made_at=timezone.now(), state_at=timezone.now(),
    )  # fmt: skip
    found = get(client, olga, f"rollouts/{broken.pk}").json()["prefetch"]
    (row,) = found["rows"]
    assert (row["node"], row["state"], row["trouble"], row["gone"]) == (
        "gpu-2", "registry", "ImagePullBackOff: 503", True,
    )  # fmt: skip
    assert not found["weights"]
    out = StringIO()
    call_command("rollout", "show", str(broken.pk), stdout=out)
    assert "gpu-2 registry since" in out.getvalue()
    assert "weights not prefetched: " in out.getvalue()


def test_a_log_of_another_rollout_is_not_there(client, olga, broken):
    log = RolloutLog.objects.first().pk
    assert get(client, olga, f"rollouts/{broken.pk + 1}/logs/{log}").status_code == 404


def test_the_cost_is_kept_at_the_plans_price_and_measured(client, olga, stage, broken):
    price = broken.plan["price"]
    assert (price["hourly"], price["sheet"], price["cost"]) == ({PRODUCT: "3.60"}, 4, None)
    RolloutGpuTime.objects.create(
        rollout=broken, hour=timezone.now(), gpu_product=PRODUCT, gpu_ms=1_800_000
    )
    cost = get(client, olga, f"rollouts/{broken.pk}").json()["cost"]
    assert (cost["spent"], cost["planned"], cost["currency"]) == ("1.8000", None, "USD")
    compared = get(client, olga, f"rollouts/{broken.pk}/plan").json()["compared"]
    row = next(c for c in compared if c["name"] == "Cost on top")
    assert (row["actual"], row["unit"]) == (1.8, "USD")


def test_who_may_not_see_money_sees_none(client, django_user_model, broken):
    make_viewer("val", "viewer")
    val = django_user_model.objects.get(email="val@example.com")
    found = get(client, val, f"rollouts/{broken.pk}").json()
    assert found["cost"] is None
    compared = get(client, val, f"rollouts/{broken.pk}/plan").json()["compared"]
    assert "Cost on top" not in [c["name"] for c in compared]


def test_plans_say_what_they_cost(client, olga, stage):
    from_start = stage.release("b")
    client.force_login(olga)
    wish = {"service_id": stage.service.pk, "release_id": from_start.pk}
    answer = client.post(V1 + "plans", wish, content_type="application/json").json()
    assert answer["currency"] == "USD"
    costs = {p["kind"]: p["cost_on_top"] for p in answer["plans"]}
    assert costs["surge_canary"] is None  # no start was ever measured
    rollout = stage.propose(from_start)
    stage.approve(rollout)
    stage.run(rollout)
    wish["release_id"] = stage.release("c").pk
    answer = client.post(V1 + "plans", wish, content_type="application/json").json()
    plan = next(p for p in answer["plans"] if p["kind"] == "surge_canary")
    want = Decimal(str(plan["gpu_seconds_on_top"])) / 3600 * Decimal("3.60")
    assert abs(Decimal(plan["cost_on_top"]) - want) < Decimal("0.001")


def test_traffic_over_time(client, olga, stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout)
    points = get(client, olga, f"rollouts/{rollout.pk}/traffic").json()
    assert points
    assert max(p["share"] or 0 for p in points) > 0.3


def test_it_is_closed_once_with_a_note(client, olga, stage, broken):
    client.force_login(olga)
    path, note = f"{V1}rollouts/{broken.pk}/close", {"why": "r3 has the older driver"}
    assert client.post(path, {}, content_type="application/json").status_code == 422
    answer = client.post(path, note, content_type="application/json")
    assert answer.status_code == 200
    assert answer.json()["timeline"][-1]["why"] == "Closed: r3 has the older driver"
    assert client.post(path, note, content_type="application/json").status_code == 409
    with scope_of(stage.olga):
        since = timezone.now() - timedelta(days=1)
        assert current_rollouts(stage.olga, since) == ()
        assert AuditEvent.objects.filter(verb="rollout.close").count() == 1


def test_only_what_was_rolled_back_is_closed(client, olga, stage):
    rollout = stage.propose(stage.release("b"))
    client.force_login(olga)
    answer = client.post(
        f"{V1}rollouts/{rollout.pk}/close", {"why": "x"}, content_type="application/json"
    )
    assert answer.status_code == 409
    assert Rollout.objects.get().phase == Phase.VALIDATING
