"""A sequence that stops by itself calls a person, where no rollout of it does."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from billing.actions.calls import call_people
from billing.drive.events import deliver_due
from fleet.actions import sequences
from fleet.drive import sequence as driving
from fleet.models import Finding, Rollout, RolloutSequence, Service
from fleet.rules.sequence import StageState
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict
from tests.billing.told import told
from tests.fleet.drive.two_clusters import make_two_clusters

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("on_call")]


@pytest.fixture
def both():
    return make_two_clusters()


def stopped(both):
    """By a finding while the first cluster bakes."""
    sequence = both.propose()
    both.approve(sequence)
    both.until(sequence, lambda: sequence.stages.get(number=1).state == StageState.BAKING)
    with fleet_scope():
        Finding.objects.create(
            tenant_id=1, service=both.west.service, traffic_class="interactive", symptom="itl",
            started_at=both.home.fake.now, seen_at=both.home.fake.now, cause="rollout",
            sentence="acme waits too long between tokens",
        )  # fmt: skip
    both.step(sequence)
    return sequence


def test_one_that_stops_in_a_bake_calls_a_person_and_again_after_it_went_on(both):
    sequence, now = stopped(both), timezone.now()
    assert [call_people(now + timedelta(minutes=m)) for m in (0, 30)] == [1, 0]
    ((kind, data),) = told()
    assert (kind, data["sequence"], data["rollout"]) == ("paused", str(sequence), "")
    assert "acme waits too long between tokens" in data["why"]
    deliver_due(now)
    assert mail.outbox[0].subject == f"{sequence} of chat: it stopped, and nothing else begins"
    RolloutSequence.objects.filter(pk=sequence.pk).update(phase="running")
    assert call_people(now + timedelta(minutes=31)) == 0
    RolloutSequence.objects.filter(pk=sequence.pk).update(
        phase="paused", phase_since=now + timedelta(minutes=32)
    )
    assert call_people(now + timedelta(minutes=32)) == 1


def test_a_pause_by_a_person_and_a_rollout_that_went_back_call_nobody_twice(both):
    sequence, now = stopped(both), timezone.now()
    rollout = sequence.stages.get(number=1).rollout
    Rollout.objects.filter(pk=rollout.pk).update(phase="rolled_back", cause="operator")
    assert call_people(now) == 0
    sequence.stages.update(state=StageState.DONE)
    assert call_people(now) == 0


def test_a_stage_that_is_refused_at_every_pass_calls_a_person_once(both):
    longest = both.home.service.max_model_len
    sequence = both.propose()
    both.approve(sequence)
    Service.objects.update(max_model_len=9999)  # changed since the approval
    both.step(sequence)
    both.step(sequence)
    stage = sequence.stages.get(number=1)
    assert (sequence.phase, stage.state) == ("running", StageState.PENDING), sequence.why
    since = stage.refused_since
    both.step(sequence)
    assert sequence.stages.get(number=1).refused_since == since
    assert [call_people(since + timedelta(minutes=m)) for m in (14, 16, 90)] == [0, 1, 0]
    ((kind, data),) = told()
    assert (kind, data["sequence"], data["since"]) == ("stuck", str(sequence), since.isoformat())
    assert "refuses it for now: What was approved" in data["why"]
    Service.objects.update(max_model_len=longest)
    both.until(sequence, lambda: sequence.stages.get(number=1).state == StageState.MOVING)
    assert sequence.stages.get(number=1).refused_since is None


def test_a_way_back_that_is_refused_calls_again_and_again(both, monkeypatch):
    def refuse(*_, **__):
        raise Conflict("RO-9 of this service is open")

    sequence = both.propose()
    both.approve(sequence)
    both.until(sequence, lambda: sequence.stages.get(number=1).state == StageState.BAKING)
    monkeypatch.setattr(driving, "undo_stage", refuse)
    both.act(sequences.roll_back_sequence, sequence.pk, why="answers are wrong")
    for _ in range(3):
        both.step(sequence)
    stage = sequence.stages.get(number=1)
    assert stage.state == StageState.GOING_BACK, (stage.state, stage.why)
    since = stage.refused_since
    times = [since + timedelta(minutes=m) for m in (0.5, 2, 10, 20)]
    assert [call_people(at) for at in times] == [0, 1, 0, 1]
    assert {kind for kind, _ in told()} == {"rollback_blocked"}
    deliver_due(times[-1])
    assert mail.outbox[0].subject == f"{sequence} of chat: the way back is blocked"


def test_a_sequence_whose_passes_fail_calls_with_what_the_last_one_said(both):
    sequence = both.propose()
    now = timezone.now()
    failure = "Traceback (most recent call last):\n  ...\nKeyError: 'old_replicas'\n"
    rows = RolloutSequence.objects.filter(pk=sequence.pk)
    rows.update(phase="running", failures=2, failure=failure)
    assert call_people(now) == 0
    rows.update(failures=3)
    assert [call_people(now + timedelta(minutes=m)) for m in (0, 1, 16)] == [1, 0, 1]
    kind, data = told()[0]
    assert kind == "stuck"
    assert data["why"].startswith("3 passes in a row failed: KeyError: 'old_replicas'. Before")
