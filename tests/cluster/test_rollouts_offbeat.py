"""Workers whose clocks are wrong."""

from datetime import timedelta

import pytest
from django.utils import timezone

from fleet.models import Rollout, RolloutEvent
from fleet.rules.phases import Phase
from tenants.base.rows import database_now

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
    rollout = stage.propose(stage.release("standin-0.32.1"), soak_seconds=4)
    stage.approve(rollout)
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
