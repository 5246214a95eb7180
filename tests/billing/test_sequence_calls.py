"""Whoever may approve a sequence is told when it waits and before its approval expires."""

import json
from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from billing.actions.calls import call_people
from billing.drive.events import deliver_due
from billing.models import FinanceEvent
from fleet.models import Finding, Rollout, RolloutSequence, SequenceCall
from fleet.queries.sequences import get_sequence
from fleet.rules.sequence import StageState
from tenants.base.scope import fleet_scope
from tenants.models import ChangeRequest
from tests.fleet.drive.two_clusters import make_two_clusters

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def both(settings):
    settings.QM_ON_CALL_MAILS = ("night@example.com",)
    settings.EMAIL_HOST = "mail.example.com"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox.clear()
    return make_two_clusters()


def told():
    with fleet_scope():
        rows = FinanceEvent.objects.filter(kind__startswith="rollout.").order_by("id")
        return [
            (row.kind.removeprefix("rollout."), json.loads(row.payload)["data"]) for row in rows
        ]


def test_it_is_told_once_when_it_waits_and_once_before_it_expires(both):
    sequence, now = both.propose(), timezone.now()
    expires = ChangeRequest.objects.get(pk=sequence.change_id).expires_at
    times = (now, now + timedelta(hours=1), expires - timedelta(hours=3))
    assert [call_people(at) for at in times] == [1, 0, 1]
    assert [kind for kind, _ in told()] == ["approval_waiting", "approval_expiring"]
    data = told()[0][1]
    assert (data["sequence"], data["rollout"], data["rollout_id"]) == (str(sequence), "", None)
    assert (data["service"], data["cluster"], data["to"]) == ("chat", "west, east", "r2")
    assert data["url"].endswith(f"/sequences/{sequence.pk}/")
    deliver_due(expires)
    assert {m.subject for m in mail.outbox} == {
        f"{sequence} of chat: it waits for an approval",
        f"{sequence} of chat: its approval expires soon",
    }
    with fleet_scope():
        assert get_sequence(both.home.olga, sequence.pk).called_at == expires - timedelta(hours=3)


def test_what_was_decided_calls_nobody(both):
    sequence = both.propose()
    both.approve(sequence)
    assert call_people(timezone.now()) == 0
    assert not SequenceCall.objects.exists()


def test_a_call_ends_when_it_waits_no_longer(both):
    sequence, now = both.propose(), timezone.now()
    call_people(now)
    RolloutSequence.objects.filter(pk=sequence.pk).update(phase="running")
    assert call_people(now + timedelta(minutes=1)) == 0
    assert SequenceCall.objects.get().ended_at == now + timedelta(minutes=1)


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
    RolloutSequence.objects.filter(pk=sequence.pk).update(phase="paused")
    assert call_people(now + timedelta(minutes=32)) == 1


def test_a_pause_by_a_person_and_a_rollout_that_went_back_call_nobody_twice(both):
    sequence, now = stopped(both), timezone.now()
    rollout = sequence.stages.get(number=1).rollout
    Rollout.objects.filter(pk=rollout.pk).update(phase="rolled_back", cause="operator")
    assert call_people(now) == 0
    sequence.stages.update(state=StageState.DONE)
    assert call_people(now) == 0
