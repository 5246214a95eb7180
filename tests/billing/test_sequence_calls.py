"""A sequence that stops by itself calls a person, where no rollout of it does."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from billing.actions.calls import call_people
from billing.drive.events import deliver_due
from fleet.models import Finding, Rollout, RolloutSequence
from fleet.rules.sequence import StageState
from tenants.base.scope import fleet_scope
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
