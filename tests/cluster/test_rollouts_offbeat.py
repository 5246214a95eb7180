"""Clocks that are wrong and watches that are cut: a rollout is open meanwhile."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from fleet.drive.watching import Bells, Watches
from fleet.models import Rollout, RolloutEvent
from fleet.rules.phases import Phase
from tenants.base.rows import database_now
from tests.cluster.test_rollouts_disturbed import begun, compact
from tests.fixtures.kubernetes import PODS, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]


class Clocks:
    """Of workers that take turns: one is 30 s ahead, one is 30 s behind."""

    def __init__(self):
        self.off, self.real = timedelta(seconds=30), timezone.now

    def now(self):
        return self.real() + self.off

    def turn(self):
        self.off = -self.off


def test_workers_whose_clocks_are_half_a_minute_off_move_it_as_others_do(stage, monkeypatch):
    rollout = begun(stage, soak_seconds=4)
    began, clocks = database_now(), Clocks()
    look = stage.observe
    monkeypatch.setattr(timezone, "now", clocks.now)
    monkeypatch.setattr(stage, "observe", lambda: (clocks.turn(), look()), raising=False)
    monkeypatch.setattr(stage, "pump", in_time(clocks, stage.pump), raising=False)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert stage.failed == []
    events = RolloutEvent.objects.filter(rollout=rollout, actor="").order_by("id")
    since = Rollout.objects.get(pk=rollout.pk).phase_since
    assert began < since < database_now()
    phases = list(events.values_list("phase", flat=True))
    assert phases.count(Phase.SUCCEEDED.value) == 1
    monkeypatch.undo()


def in_time(clocks, pump):
    """Gateways have clocks of their own."""

    def pumped():
        off, clocks.off = clocks.off, timedelta(0)
        pump()
        clocks.off = off

    return pumped


def test_a_watch_that_is_cut_while_etcd_is_compacted_begins_again_and_rings(stage):
    """The API server goes with all watches of it; what they could go on from is forgotten."""
    bells, service = Bells(), stage.service.name
    watches = Watches(bells)
    watches.keep()
    first = watches.threads[stage.row.pk]
    ring(stage, bells)
    with stage.cluster.api_server_away():
        compact(stage.cluster)
    first.join(20)
    assert not first.is_alive()
    watches.keep()
    second = watches.threads[stage.row.pk]
    bells.take(stage.row.pk)
    ring(stage, bells)
    assert second.is_alive(), "one watch is enough: it does not begin again and again"
    assert bells.take(stage.row.pk) <= {service}
    stage.observe()
    stage.row.refresh_from_db()
    assert stage.row.trouble == ""


def ring(stage, bells):
    """Change a pod until the bell rings: the watch may begin only after the first change."""
    path = f"{PODS}/{stage.pods()[0]['metadata']['name']}"

    def rung():
        note = {"metadata": {"annotations": {"example.com/at": str(time.monotonic())}}}
        stage.cluster.admin.patch(path, note)
        time.sleep(0.2)
        return stage.row.pk in bells.clusters()

    until("a bell", rung, 30)
