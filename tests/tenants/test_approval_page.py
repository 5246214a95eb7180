"""The page of a change offers an approval to those alone who may give it at this moment."""

import pytest

from tenants.actions import changes, people
from tenants.base.scope import fleet_scope
from tenants.models import User

pytestmark = pytest.mark.django_db
FORM = 'name="verdict" value="approve"'


@pytest.fixture
def page(olga, vic):
    with olga.scope():
        change = changes.propose(
            olga.viewer, kind="other", target_id=7, title="Move r2", payload={"a": 1}
        )

    def page(person):
        return person.client.get(f"/approvals/{change.pk}/").content.decode()

    return page


def test_an_approver_may_approve(page, vic):
    shown = page(vic)
    assert FORM in shown and "vic@example.com</div>" in shown


def test_whom_the_requester_let_in_is_told_from_when_he_may(page, olga, vic):
    with olga.scope():
        people.invite_person(olga.viewer, email="pat@example.com", role="approver")
        people.reset_password(olga.viewer, vic.user.pk, why="lost")
    User.objects.update(password_is_once=False)
    vic.client.force_login(User.objects.get(pk=vic.user.pk))
    shown = page(vic)
    assert FORM not in shown and "Go to the approval" not in shown
    assert "Reject with a reason" in shown and "you may reject, another may approve" in shown
    assert "You may approve this from" in shown
    assert "vic@example.com, from" in shown and "pat@example.com, from" in shown


def test_the_requester_reads_who_may(page, olga):
    shown = page(olga)
    assert FORM not in shown and "vic@example.com</div>" in shown


def test_nobody_may_where_nobody_has_the_role(page, olga, vic):
    with fleet_scope():
        vic.user.bindings.all().delete()
    assert "Nobody: an operator makes somebody else an approver" in page(olga)
