"""Who takes access away: one at a time, and never that of the last one who is needed."""

import threading

import pytest
from django.db import connection

from tenants.actions import people
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, ConsoleError
from tenants.models import RoleBinding, User
from tests.tenants.conftest import make_person


@pytest.mark.django_db
@pytest.mark.parametrize("act", ["take the role", "deactivate"])
def test_the_last_approver_of_the_fleet_stays(olga, vic, act):
    with olga.scope(), pytest.raises(Conflict, match="last active approver of the fleet"):
        end(olga, vic, act, "approver")
    make_person("paul", "approver")
    with olga.scope():
        end(olga, vic, act, "approver")


@pytest.mark.django_db
def test_a_deactivated_or_a_tenants_approver_is_none(olga, vic, acme):
    make_person("adam", "approver", acme)
    gone = make_person("gus", "approver")
    User.objects.filter(pk=gone.user.pk).update(is_active=False)
    with olga.scope(), pytest.raises(Conflict, match="give somebody else the role first"):
        people.deactivate_person(olga.viewer, vic.user.pk)
    with olga.scope():
        people.take_role(olga.viewer, gone.user.pk, role="approver")


@pytest.mark.django_db
def test_the_page_says_why(olga, vic):
    at = f"/people/{vic.user.pk}/take-role/"
    answer = olga.client.post(at, {"role": "approver", "tenant": ""})
    assert answer.status_code == 409
    assert "the last active approver of the fleet" in answer.content.decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("act", ["take the role", "deactivate"])
def test_two_operators_who_end_each_other_leave_one(act):
    olga, otto = make_person("olga", "operator"), make_person("otto", "operator")
    make_person("vic", "approver")
    ready, refused = threading.Barrier(2), []

    def work(by, whom):
        try:
            with by.scope():
                ready.wait(10)
                end(by, whom, act, "operator")
        except ConsoleError as refusal:
            refused.append(refusal)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=pair) for pair in ((olga, otto), (otto, olga))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    with fleet_scope():
        left = RoleBinding.objects.filter(role="operator", user__is_active=True)
        assert left.count() == 1
    assert len(refused) == 1


def end(by, whom, act, role):
    if act == "deactivate":
        return people.deactivate_person(by.viewer, whom.user.pk)
    return people.take_role(by.viewer, whom.user.pk, role=role)
