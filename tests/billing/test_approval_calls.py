"""Whoever may approve a sequence or a drill is told when it waits, and before that expires."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from billing.actions.calls import call_people
from billing.drive.events import deliver_due
from fleet.actions.pod_losses import propose_pod_loss
from fleet.models import ApprovalCall, PodLoss, RolloutSequence
from fleet.queries.sequences import get_sequence
from tenants.base.scope import fleet_scope
from tenants.models import ChangeRequest, User
from tests.billing.told import told
from tests.console.visitors import browser
from tests.fleet.drive.stage import make_stage
from tests.fleet.drive.two_clusters import make_two_clusters

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("on_call")]


@pytest.fixture
def both():
    return make_two_clusters()


def test_it_is_told_once_when_it_waits_and_once_before_it_expires(both):
    sequence, now = both.propose(), timezone.now()
    expires = ChangeRequest.objects.get(pk=sequence.change_id).expires_at
    times = (now, now + timedelta(hours=1), expires - timedelta(hours=3))
    assert [call_people(at) for at in times] == [1, 0, 1]
    assert [kind for kind, _ in told()] == ["approval_waiting", "approval_expiring"]
    data = told()[0][1]
    assert (data["sequence"], data["rollout"], data["rollout_id"]) == (str(sequence), "", None)
    assert (data["drill"], data["drill_id"], data["sequence_id"]) == ("", None, sequence.pk)
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
    assert not ApprovalCall.objects.exists()


def test_a_call_ends_when_it_waits_no_longer(both):
    sequence, now = both.propose(), timezone.now()
    call_people(now)
    RolloutSequence.objects.filter(pk=sequence.pk).update(phase="running")
    assert call_people(now + timedelta(minutes=1)) == 0
    assert ApprovalCall.objects.get().ended_at == now + timedelta(minutes=1)


def test_a_drill_that_kills_a_replica_tells_them_too():
    stage = make_stage()
    stage.observe()
    drill = stage.act(propose_pod_loss, stage.service.pk, reason="a node may die")
    now = timezone.now()
    assert [call_people(at) for at in (now, now + timedelta(hours=1))] == [1, 0]
    ((kind, data),) = told()
    assert (kind, data["drill"], data["drill_id"]) == ("approval_waiting", str(drill), drill.pk)
    assert (data["rollout"], data["sequence"], data["from"]) == ("", "", data["to"])
    assert data["url"].endswith(f"/drills/{drill.pk}/")
    page = browser(User.objects.get(pk=stage.olga.user_id)).get(f"/drills/{drill.pk}/")
    assert "people on call were told" in page.content.decode()
    deliver_due(now)
    assert mail.outbox[0].subject == f"{drill} of {stage.service.name}: it waits for an approval"
    stage.approve(PodLoss.objects.get(drill=drill))
    assert call_people(now + timedelta(minutes=1)) == 0
