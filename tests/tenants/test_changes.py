"""Four eyes: what is approved is what was shown, and somebody else approves it."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from tenants.actions import changes, people
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid, NotFound, Stale
from tenants.models import AuditEvent, ChangeRequest
from tenants.queries import changes as queries
from tenants.queries.access import handed_by, viewer_of_user
from tenants.rules.changes import OWN_HAND, handed_at
from tests.tenants.conftest import make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def change(olga):
    with olga.scope():
        return changes.propose(
            olga.viewer, kind="rollout", target_id=7, title="Roll out r2", payload={"b": 1, "a": 2}
        )


def decide(person, change, digest=None, approve=True, why="looks right"):
    with person.scope():
        return changes.decide(
            person.viewer, change.pk, digest=digest or change.digest, approve=approve, why=why
        )


def test_it_lets_somebody_else_approve(change, vic):
    decided = decide(vic, change)
    assert (decided.state, decided.decider_id) == ("approved", vic.user.pk)
    with vic.scope():
        verbs = list(AuditEvent.objects.values_list("verb", "actor").order_by("id"))
    assert verbs == [
        ("change.propose", "olga@example.com"),
        ("change.approve", "vic@example.com"),
    ]


def test_it_makes_one_digest_whatever_the_order_of_keys(change, olga):
    with olga.scope():
        other = changes.propose(
            olga.viewer, kind="rollout", target_id=8, title="Same", payload={"a": 2, "b": 1}
        )
    assert other.digest == change.digest


def test_it_refuses_the_requester(change, olga):
    with pytest.raises(Forbidden):
        decide(olga, change)


def test_it_refuses_the_requester_in_the_database_too(change, olga):
    rows = ChangeRequest.objects.filter(pk=change.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.update(state="approved", decider_id=olga.user.pk)


@pytest.mark.parametrize("act", ["take the role", "deactivate"])
def test_it_refuses_who_stopped_being_an_approver_since_the_request_began(change, vic, olga, act):
    make_person("paul", "approver")
    with olga.scope():
        if act == "deactivate":
            people.deactivate_person(olga.viewer, vic.user.pk)
        else:
            people.take_role(olga.viewer, vic.user.pk, role="approver")
    with vic.scope(), pytest.raises((Forbidden, NotFound)):
        changes.decide(vic.viewer, change.pk, digest=change.digest, approve=True)
    change.refresh_from_db()
    assert change.state == "waiting"


HANDS = {
    "person.reset_password": lambda of, vic: people.reset_password(of, vic.user.pk, why="lost"),
    "role.give": lambda of, vic: people.give_role(of, vic.user.pk, role="approver", why="more"),
}


@pytest.mark.parametrize("verb", HANDS)
def test_whom_the_requester_gave_access_is_no_second_pair_of_eyes_at_once(change, vic, olga, verb):
    """An operator could open, or take over, the account that approves what he asked for."""
    make_person("paul", "approver")
    if verb == "role.give":
        with olga.scope():
            people.take_role(olga.viewer, vic.user.pk, role="approver", why="anew")
    with olga.scope():
        HANDS[verb](olga.viewer, vic)
    with pytest.raises(Forbidden, match="another approver may now"):
        decide(vic, change)
    assert decide(vic, change, approve=False).state == "rejected"


def test_who_was_given_access_by_another_or_long_ago_approves(change, vic, olga, fiona):
    with olga.scope():
        people.give_role(olga.viewer, vic.user.pk, role="viewer", why="no approver's role")
        people.give_role(olga.viewer, fiona.user.pk, role="approver", why="of somebody else")
        of_long_ago = timezone.now() - OWN_HAND
        assert list(handed_by(olga.user.pk, of_long_ago)) == [str(fiona.user.pk)]
        assert handed_by(olga.user.pk, timezone.now()) == {}
        assert handed_by(vic.user.pk, of_long_ago) == {}
    assert decide(vic, change).state == "approved"


def test_it_refuses_another_digest(change, vic):
    with pytest.raises(Stale):
        decide(vic, change, digest="0" * 64)


def test_it_refuses_a_second_decision(change, vic):
    decide(vic, change, approve=False)
    with pytest.raises(Conflict, match=r"rejected by vic@example\.com"):
        decide(vic, change)


def test_it_wants_a_reason_for_a_rejection(change, vic):
    with pytest.raises(Invalid):
        decide(vic, change, approve=False, why=" ")


def test_it_refuses_after_the_expiry_even_before_the_sweep(change, vic):
    ChangeRequest.objects.filter(pk=change.pk).update(
        expires_at=change.created_at - timedelta(hours=1)
    )
    with pytest.raises(Conflict, match="expired"):
        decide(vic, change)


def test_it_expires_what_nobody_decided(change, vic):
    with fleet_scope():
        assert changes.expire() == 0
        ChangeRequest.objects.filter(pk=change.pk).update(expires_at=change.created_at)
        assert changes.expire() == 1
    with vic.scope():
        assert queries.get_change(vic.viewer, change.pk).state == "expired"


def test_it_takes_one_waiting_change_of_a_target(change, olga):
    with olga.scope(), pytest.raises(Conflict):
        changes.propose(olga.viewer, kind="rollout", target_id=7, title="Again", payload={})


def test_it_lets_the_requester_withdraw_and_ask_again(change, olga):
    with olga.scope():
        changes.withdraw(olga.viewer, change.pk, why="wrong release")
        changes.propose(olga.viewer, kind="rollout", target_id=7, title="Again", payload={})
        waiting = queries.list_changes(olga.viewer, state=queries.WAITING)
        assert waiting.count() == 1


def test_it_hides_changes_from_a_stranger(change, mallory):
    with mallory.scope():
        with pytest.raises(NotFound):
            queries.get_change(mallory.viewer, change.pk)
        with pytest.raises(NotFound):
            changes.decide(mallory.viewer, change.pk, digest=change.digest, approve=True)
        with pytest.raises(NotFound):
            changes.withdraw(mallory.viewer, change.pk)


def test_it_refuses_a_proposal_of_somebody_who_only_looks(vic):
    with vic.scope(), pytest.raises(Forbidden):
        changes.propose(vic.viewer, kind="rollout", target_id=1, title="x", payload={})


def test_it_wakes_the_owner_of_the_change(
    change, vic, monkeypatch, django_capture_on_commit_callbacks
):
    sent = []
    monkeypatch.setattr("tenants.nudge.current_app.send_task", lambda *a, **k: sent.append((a, k)))
    with django_capture_on_commit_callbacks(execute=True):
        decide(vic, change)
    assert sent == [(("fleet.tasks.change_decided",), {"args": [change.pk], "retry": False})]


@pytest.mark.parametrize(
    "fields", [{"state": "waiting"}, {"decision_reason": "another"}, {"digest": "0" * 64}]
)
def test_what_was_decided_stays(change, vic, fields):
    decide(vic, change)
    with fleet_scope(), pytest.raises(DatabaseError, match="decided stays"), transaction.atomic():
        ChangeRequest.objects.filter(pk=change.pk).update(**fields)
    with fleet_scope(), pytest.raises(DatabaseError, match="never deleted"), transaction.atomic():
        ChangeRequest.objects.filter(pk=change.pk).delete()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"payload": {"a": 3}}, "asked for never changes"),
        ({"target_id": 8}, "asked for never changes"),
        ({"state": "approved"}, "a person decides"),
    ],
)
def test_what_was_asked_stays_while_it_waits(change, fields, words):
    with fleet_scope(), pytest.raises(DatabaseError, match=words), transaction.atomic():
        ChangeRequest.objects.filter(pk=change.pk).update(**fields)


def test_whom_a_let_in_account_lets_in_is_no_second_pair_of_eyes_either(change, olga, fiona):
    """Who opens an account could act as that person, and open the next one."""
    with olga.scope():
        otto, _ = people.invite_person(olga.viewer, email="otto@example.com", role="operator")
    stand_in = viewer_of_user(otto)
    with scope_of(stand_in):
        pat, _ = people.invite_person(stand_in, email="pat@example.com", role="approver")
        people.give_role(stand_in, fiona.user.pk, role="approver")
    for person in (viewer_of_user(pat), viewer_of_user(fiona.user)):
        with scope_of(person), pytest.raises(Forbidden, match="another approver may now"):
            changes.decide(person, change.pk, digest=change.digest, approve=True)


def test_who_was_let_in_before_the_giver_was_is_a_second_pair_of_eyes():
    now = timezone.now()
    hands = [
        (2, "3", now),
        (1, "2", now + timedelta(1)),
        (2, "4", now + timedelta(2)),
        (5, "6", now),
    ]
    assert handed_at(hands, 1) == {"2": now + timedelta(1), "4": now + timedelta(2)}


def test_it_says_who_may_approve_and_from_when(change, vic, olga):
    now = timezone.now()
    with olga.scope():
        people.invite_person(olga.viewer, email="pat@example.com", role="approver")
        people.give_role(olga.viewer, vic.user.pk, role="viewer")
        first, second = queries.approvers_of(olga.viewer, change, now)
    assert (first.email, first.begins_at) == ("vic@example.com", None)
    assert second.email == "pat@example.com"
    assert now + OWN_HAND < second.begins_at < now + OWN_HAND + timedelta(minutes=1)
