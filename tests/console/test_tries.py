"""The demo's bad releases: one click proposes, the demo's approver agrees, nobody else may."""

import pytest
from django.urls import reverse

from console.demo.cast import LARGE, PEOPLE
from console.demo.tries import NOTES
from fleet.models import Rollout, Service
from tenants.base.scope import fleet_scope
from tenants.models import ChangeRequest, RoleBinding, User
from tests.console.visitors import browser
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db


@pytest.fixture
def demo(settings, tmp_path):
    """The demo's service on a cluster with room, its people, and one of its bad releases."""
    settings.QM_UP_FILE = tmp_path / "up.json"
    stage = make_stage()
    with fleet_scope():
        Service.objects.filter(pk=stage.service.pk).update(name=LARGE)
        for person in PEOPLE:
            if person.tenant:
                continue
            user = User.objects.create_user(person.email, name=person.name)
            for role in person.roles:
                RoleBinding.objects.create(user=user, role=role)
    stage.bad = stage.release("b", note=next(iter(NOTES)))
    return stage


def visit(who):
    email = next(person.email for person in PEOPLE if person.who == who)
    return browser(User.objects.get(email=email))


def test_one_click_proposes_and_the_demo_s_approver_agrees(demo):
    olga = visit("operator")
    assert "Bad releases to try" in olga.get(reverse("rollouts")).content.decode()
    answer = olga.post(reverse("rollout_try", args=[demo.bad.pk]))
    with fleet_scope():
        rollout = Rollout.objects.get(to_release=demo.bad)
        assert answer.headers["location"] == reverse("rollout", args=[rollout.pk])
        change = ChangeRequest.objects.get(pk=rollout.change_id)
        assert change.state == "approved"
    again = olga.post(reverse("rollout_try", args=[demo.bad.pk]))
    assert again.status_code == 409
    shown = olga.get(reverse("rollouts")).content.decode()
    assert f"RO-{rollout.pk}" in shown


@pytest.mark.parametrize("who", ["viewer", "approver", "finance"])
def test_others_neither_see_nor_start_it(demo, who):
    somebody = visit(who)
    assert "Bad releases to try" not in somebody.get(reverse("rollouts")).content.decode()
    assert somebody.post(reverse("rollout_try", args=[demo.bad.pk])).status_code == 403
    with fleet_scope():
        assert not Rollout.objects.filter(to_release=demo.bad).exists()


def test_a_release_that_is_none_of_them_is_not_found(demo):
    good = demo.release("c", note="A good one")
    assert visit("operator").post(reverse("rollout_try", args=[good.pk])).status_code == 404


def test_without_the_demo_there_is_no_such_door(demo, settings):
    settings.QM_UP_FILE = None
    olga = visit("operator")
    assert "Bad releases to try" not in olga.get(reverse("rollouts")).content.decode()
    assert olga.post(reverse("rollout_try", args=[demo.bad.pk])).status_code == 404
