"""People on call are told what the fleet calls them for, again and again until one is on it."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from billing.actions.calls import call_people
from billing.actions.webhooks import add_webhook
from billing.drive.events import deliver_due
from billing.models import EventDelivery
from billing.rules.webhooks import KINDS
from fleet.actions import rollouts as actions
from fleet.actions.calls import acknowledge
from fleet.models import Rollout, RolloutCall
from fleet.rules.phases import Phase
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict
from tenants.models import AuditEvent, ChangeRequest, User
from tenants.queries.access import viewer_of_user
from tenants.rules.access import Permission, system_viewer
from tests.billing.told import told
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rollout(on_call):
    stage = make_stage()
    made = stage.propose(stage.release("b"))
    stage.step(made)
    return made


def become(rollout, phase, **fields):
    now = timezone.now()
    rows = Rollout.objects.filter(pk=rollout.pk)
    rows.update(phase=phase.value, phase_since=now, why="Because", **fields)
    return now


def test_an_approval_that_waits_and_one_that_expires_are_told_once(rollout):
    now = timezone.now()
    assert call_people(now) == 1
    assert call_people(now + timedelta(hours=1)) == 0
    expires = ChangeRequest.objects.get(pk=rollout.change_id).expires_at
    assert call_people(expires - timedelta(hours=3)) == 1
    assert call_people(expires - timedelta(hours=2)) == 0
    assert [kind for kind, _ in told()] == ["approval_waiting", "approval_expiring"]
    assert told()[1][1]["expires_at"] == expires.isoformat()


@pytest.mark.parametrize(
    ("phase", "kind", "memory"),
    [
        (Phase.ROLLBACK_BLOCKED, "rollback_blocked", {}),
        (Phase.PAUSED, "paused", {"paused_by": "gate"}),
    ],
)
def test_it_calls_again_until_somebody_is_on_it(rollout, phase, kind, memory):
    now = become(rollout, phase, memory=memory)
    again = timedelta(minutes=15)
    assert [call_people(now + again * n) for n in range(3)] == [1, 1, 1]
    assert call_people(now + again * 2 + timedelta(minutes=14)) == 0
    assert [(k, data["times"]) for k, data in told()] == [(kind, 1), (kind, 2), (kind, 3)]
    olga = take_on(rollout, "I look")
    assert call_people(now + again * 4) == 0
    with pytest.raises(Conflict, match="somebody is on it already"):
        take_on(rollout)
    with fleet_scope():
        event = AuditEvent.objects.get(verb="rollout.acknowledge")
    assert (event.actor, event.why, event.after) == (olga.email, "I look", {"calls": [kind]})


def take_on(rollout, why=""):
    olga = make_olga()
    with scope_of(olga):
        acknowledge(olga, rollout.pk, why=why)
    return olga


def make_olga():
    return viewer_of_user(User.objects.get(email="olga@example.com"))


def test_what_blocks_anew_later_is_a_call_of_its_own(rollout):
    now = become(rollout, Phase.ROLLBACK_BLOCKED)
    call_people(now)
    take_on(rollout)
    become(rollout, Phase.ROLLING_BACK)
    call_people(now + timedelta(minutes=1))
    become(rollout, Phase.ROLLBACK_BLOCKED)
    assert call_people(now + timedelta(minutes=2)) == 0, "it flickers: somebody is on it"
    become(rollout, Phase.ROLLING_BACK)
    call_people(now + timedelta(minutes=3))
    become(rollout, Phase.ROLLBACK_BLOCKED)
    assert call_people(now + timedelta(minutes=40)) == 1
    assert RolloutCall.objects.filter(rollout=rollout).count() == 2


@pytest.mark.parametrize(("cause", "calls"), [("gate_failed", 1), ("operator", 0)])
def test_what_went_back_by_itself_is_told_once(rollout, cause, calls):
    now = become(rollout, Phase.ROLLED_BACK, cause=cause, ended_at=timezone.now())
    assert call_people(now) == calls
    assert call_people(now + timedelta(minutes=30)) == 0
    assert call_people(now + timedelta(hours=2)) == 0


def test_receivers_and_mails_get_it(rollout):
    with fleet_scope():
        hook, _ = add_webhook(system(), "https://pager.example.com/", list(KINDS))
    now = become(rollout, Phase.ROLLBACK_BLOCKED)
    call_people(now)
    with fleet_scope():
        rows = EventDelivery.objects.order_by("id")
        assert [(r.webhook_id, r.mail) for r in rows] == [
            (hook.pk, ""),
            (None, "night@example.com"),
        ]
        rows.exclude(webhook=None).delete()
    deliver_due(timezone.now() + timedelta(seconds=1))
    (sent,) = mail.outbox
    assert sent.subject == f"{rollout} of chat: the way back is blocked"
    assert "Because" in sent.body and f"/rollouts/{rollout.pk}/" in sent.body


def system():
    return system_viewer("tests", tuple(Permission))


@pytest.mark.parametrize(
    ("phase", "minutes", "kind"),
    [(Phase.SHIFTING, 5, "stuck"), (Phase.ROLLING_BACK, 1, "rollback_blocked")],
)
def test_a_rollout_whose_cluster_does_not_do_it_for_long_calls(rollout, phase, minutes, kind):
    """The cluster was away for a night, and its rollout only waited."""
    now = become(rollout, phase, hindered_since=timezone.now())
    assert call_people(now + timedelta(minutes=minutes, seconds=-1)) == 0
    assert call_people(now + timedelta(minutes=minutes)) == 1
    assert call_people(now + timedelta(minutes=minutes + 15)) == 1, "again"
    assert [(k, data["why"]) for k, data in told()] == [(kind, "Because")] * 2
    Rollout.objects.filter(pk=rollout.pk).update(hindered_since=None)
    assert call_people(now + timedelta(minutes=40)) == 0
    assert not RolloutCall.objects.filter(rollout=rollout, ended_at=None).exists()


def test_an_abort_by_a_person_calls_nobody(rollout):
    olga = make_olga()
    with scope_of(olga):
        actions.abort_rollout(olga, rollout.pk, why="no")
    assert [kind for kind, _ in told()] == []


def test_a_rollout_whose_passes_fail_calls_with_what_the_last_one_said(rollout):
    failure = "Traceback (most recent call last):\n  ...\nRuntimeError: poison\n"
    now = become(rollout, Phase.ABORTING, failures=2, failure=failure)
    assert call_people(now) == 0
    Rollout.objects.filter(pk=rollout.pk).update(failures=3)
    assert [call_people(now + timedelta(minutes=m)) for m in (0, 5, 15)] == [1, 0, 1]
    kind, data = told()[0]
    assert (kind, data["rollout"]) == ("stuck", str(rollout))
    assert data["why"] == "3 passes in a row failed: RuntimeError: poison. Before that: Because"
    Rollout.objects.filter(pk=rollout.pk).update(failures=0)
    assert call_people(now + timedelta(minutes=31)) == 0
    assert RolloutCall.objects.get(kind="stuck").ended_at is not None
