"""An approval for a stated time: not earlier, not later, and it holds nobody up meanwhile."""

from datetime import timedelta

import pytest
from django.utils import timezone

from fleet.models import Rollout, Service
from fleet.queries.queue import Turn, queue_of
from fleet.queries.situations import others_of
from fleet.rules.begins_within import BeginsWithin
from fleet.rules.phases import Phase
from tenants.base.scope import scope_of
from tenants.errors import Invalid
from tenants.models import ChangeRequest
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


@pytest.fixture
def stage():
    return make_stage()


def proposed(stage, *, opens=None, closes=None):
    now = timezone.now()
    begins = BeginsWithin(now + opens if opens else None, now + closes if closes else None)
    rollout = stage.propose(stage.release("b"), begins=begins)
    for _ in range(3):
        stage.step(rollout)
    assert rollout.phase == Phase.AWAITING_APPROVAL
    return rollout


def test_it_begins_no_earlier_than_it_was_approved_for(stage):
    rollout = proposed(stage, opens=HOUR, closes=3 * HOUR)
    stage.approve(rollout)
    stage.step(rollout)
    assert rollout.phase == Phase.AWAITING_APPROVAL
    assert "Approved, and begins from" in rollout.why
    stage.fake.now += 2 * HOUR
    stage.step(rollout)
    assert rollout.phase == Phase.PREPARING


def test_it_does_not_begin_after_the_time_it_was_approved_for(stage):
    rollout = proposed(stage, closes=HOUR)
    stage.approve(rollout)
    stage.fake.now += 2 * HOUR
    stage.step(rollout)
    assert rollout.phase == Phase.EXPIRED
    assert "It was approved to begin before" in rollout.why
    assert "Nothing was written" in rollout.why
    assert rollout.started_at is None


def test_the_question_ends_with_the_time(stage):
    rollout = proposed(stage, closes=HOUR)
    change = ChangeRequest.objects.get(pk=rollout.change_id)
    assert change.expires_at - timezone.now() <= HOUR
    assert "before" in change.payload["begins"]


def test_an_abort_wins_over_the_time(stage):
    rollout = proposed(stage, opens=HOUR)
    stage.approve(rollout)
    Rollout.objects.filter(pk=rollout.pk).update(wish="abort", wish_by="olga@example.com")
    stage.step(rollout)
    assert rollout.phase == Phase.CANCELLED


def test_it_refuses_a_time_that_is_over(stage):
    release = stage.release("b")
    with pytest.raises(Invalid) as refusal:
        stage.propose(release, begins=BeginsWithin(closes=timezone.now() - HOUR))
    assert "begins_before" in refusal.value.fields
    assert not Rollout.objects.exists()


def test_the_queue_tells_who_begins_later(stage):
    rollout = proposed(stage, opens=HOUR)
    stage.approve(rollout)
    with scope_of(stage.olga):
        rows = queue_of(stage.cluster, [Rollout.objects.get(pk=rollout.pk)], frozenset()).rows
    assert [row.turn for row in rows] == [Turn.LATER]


def test_until_its_time_it_holds_nobody_up(stage):
    rollout = proposed(stage, opens=HOUR)
    stage.approve(rollout)
    other = Service.objects.create(name="other", cluster=stage.cluster)
    assert others_of(stage.cluster, other) == []
    kept = rollout.plan | {"begins": BeginsWithin(opens=timezone.now() - HOUR).as_json()}
    Rollout.objects.filter(pk=rollout.pk).update(plan=kept)
    ((_, ahead),) = others_of(stage.cluster, other)
    assert not ahead.began
