"""A way back without Redis, with a real gateway under traffic: what clients notice of it."""

import threading
import time
from io import StringIO
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.management import call_command

from fleet.clients.fetch import Fetch
from fleet.models import Deployment, RolloutEvent
from fleet.queries.rollout_harm import harm_of
from fleet.rules.phases import Phase
from fleet.rules.situation import StepPlan
from tests.cluster.gateway_stage import gateway
from tests.cluster.rollout_stage import make_stage_serving
from tests.fixtures.proxies import Cable

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600, func_only=True),  # the cluster's start is not counted
]
HELD = (StepPlan(50, 3600, 1_000_000),)  # waits for samples that never come
NOWHERE = "redis://127.0.0.1:1"
PODS_GONE = 30.0  # seconds until none goes to the bad release though gateways know nothing


@pytest.fixture
def stage(cluster):
    found = make_stage_serving(cluster, "chat")
    yield found
    found.clear()


class Traffic:
    """Clients that never stop asking, while `with` lasts."""

    def __init__(self, clients):
        self.clients, self.over, self.seen = clients, threading.Event(), []

    def __enter__(self):
        self.threads = [threading.Thread(target=self._ask) for _ in range(3)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _ask(self):
        while not self.over.is_set():
            began = time.time()
            self.seen.append((began, *self.clients.ask()))
            time.sleep(0.05)

    def last(self, release):
        return max((began for began, _, by, _ in self.seen if by == release), default=0.0)


def half(stage):
    """Half of the traffic is on the new release."""
    rollout = stage.propose(stage.release("standin-0.32.1"), steps=HELD)
    stage.approve(rollout)
    return stage.run(rollout, until={Phase.ANALYZING}, seconds=240)


def unplug(settings, monkeypatch, cable):
    """Redis is gone for everybody, registry and model hub are as well."""
    cable.cut()
    settings.REDIS_URL = settings.CELERY_BROKER_URL = NOWHERE

    def away(*_, **__):
        raise AssertionError("a way back asks neither registry nor model hub")

    monkeypatch.setattr(Fetch, "get", away)


@pytest.mark.parametrize("console", ["answers", "is gone as well"])
def test_traffic_goes_back_without_redis_and_no_request_is_lost(
    console, stage, live_server, settings, tmp_path, monkeypatch
):
    url = urlsplit(settings.REDIS_URL)
    good = stage.service.current_release.fingerprint
    with Cable(url.path) as cable:
        lost = {"QM_INGEST_URL": "http://127.0.0.1:1/api/v1/usage/events"}
        number = parse_qs(url.query)["db"][0]  # each of the test's processes has one of its own
        more = {"REDIS_URL": f"redis://127.0.0.1:{cable.port}/{number}"} | (
            lost if "gone" in console else {}
        )
        ingest = f"{live_server.url}/api/v1/usage/events"
        with gateway(stage, ingest, settings, tmp_path, **more) as clients:
            rollout = half(stage)
            bad = rollout.to_release.fingerprint
            with Traffic(clients) as traffic:
                time.sleep(2)
                unplug(settings, monkeypatch, cable)
                began = time.time()
                out = StringIO()
                who = {"as": "olga@example.com", "why": "answers got worse"}
                call_command("rollout", "rescue", "chat", stdout=out, **who)
                time.sleep(1)
    rollout.refresh_from_db()
    assert rollout.phase == Phase.ROLLED_BACK, out.getvalue()
    broken = [seen for seen in traffic.seen if seen[1] != 200 or not seen[3]]
    assert not broken, broken[:5]
    assert {by for _, _, by, _ in traffic.seen if _ is not None} <= {good, bad}
    lag = traffic.last(bad) - began
    left = RolloutEvent.objects.get(rollout=rollout, detail__replicas_new=0)
    gone = left.at.timestamp()
    assert ("All 1 that ask the console" in left.why) == (console == "answers"), left.why
    assert traffic.last(bad) > 0, "the bad release never had traffic"
    if "gone" in console:
        assert gone < traffic.last(bad) < began + PODS_GONE
    else:
        assert traffic.last(bad) < gone, "its replicas had been idle when they went"
    assert stage.fingerprints() == [good] * 2
    assert Deployment.objects.get(release=rollout.to_release).weight == 0
    harm = stage.act(harm_of, rollout.pk)
    print(
        f"{len(traffic.seen)} requests, last to the bad release {lag:.1f} s after, {harm.requests}"
    )
    assert harm.requests == 0
