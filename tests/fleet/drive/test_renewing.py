"""Claims that last as long as their pass, on PostgreSQL."""

import time
from datetime import timedelta

import pytest
from django.db import connection

from fleet.models import Rollout
from tenants.base.renewing import renewed
from tests.fleet.drive.stage import make_stage
from tests.plugins.database import end_connections

pytestmark = pytest.mark.django_db(transaction=True)
HOLD = timedelta(seconds=0.8)


@pytest.fixture
def rollout():
    stage = make_stage()
    return stage.propose(stage.release("b"))


def test_a_claim_lasts_as_long_as_its_pass_and_ends_with_it(rollout):
    claim = Rollout.take_claim(rollout.pk, hold=HOLD)
    with renewed(Rollout, rollout.pk, claim, hold=HOLD):
        time.sleep(2)
        assert Rollout.take_claim(rollout.pk) is None
    time.sleep(1)
    assert Rollout.take_claim(rollout.pk)


def test_it_is_renewed_after_the_end_of_its_connection(rollout):
    claim = Rollout.take_claim(rollout.pk, hold=HOLD)
    with renewed(Rollout, rollout.pk, claim, hold=HOLD):
        time.sleep(0.3)
        end_connections()
        time.sleep(1)
        connection.close()
        assert Rollout.take_claim(rollout.pk) is None


def test_a_claim_that_somebody_else_took_is_left_alone(rollout):
    lost = Rollout.take_claim(rollout.pk, hold=timedelta(0))
    theirs = Rollout.take_claim(rollout.pk, hold=HOLD)
    with renewed(Rollout, rollout.pk, lost, hold=HOLD):
        time.sleep(1)
        rollout.refresh_from_db()
        assert rollout.claim == theirs
        assert Rollout.take_claim(rollout.pk)
