"""Claims that last as long as their pass, on PostgreSQL."""

import time
from datetime import timedelta

import pytest
from django.db import connection

from fleet.models import Rollout
from tenants.base.claims import PARTS, renewed
from tests.fixtures.kubernetes import until
from tests.fleet.drive.stage import make_stage
from tests.plugins.database import end_connections

pytestmark = pytest.mark.django_db(transaction=True)
HOLD = timedelta(seconds=8)  # no machine is so slow that nothing happens in it
TURN = HOLD.total_seconds() / PARTS


@pytest.fixture
def rollout():
    stage = make_stage()
    return stage.propose(stage.release("b"))


def ends(rollout):
    return Rollout.objects.values_list("claim_until", flat=True).get(pk=rollout.pk)


def test_a_claim_is_renewed_while_its_pass_lasts_and_no_longer(rollout):
    claim = Rollout.take_claim(rollout.pk, hold=HOLD)
    with renewed(Rollout, rollout.pk, claim, hold=HOLD):
        for _ in range(2):
            before = ends(rollout)
            until("a renewal", lambda b=before: ends(rollout) > b, 60)
    last = ends(rollout)
    time.sleep(TURN * 1.5)
    assert ends(rollout) == last


def test_it_is_renewed_after_the_end_of_its_connection(rollout):
    claim = Rollout.take_claim(rollout.pk, hold=HOLD)
    with renewed(Rollout, rollout.pk, claim, hold=HOLD):
        before = ends(rollout)
        until("a renewal", lambda: ends(rollout) > before, 60)
        end_connections()
        connection.close()
        again = ends(rollout)
        until("another renewal", lambda: ends(rollout) > again, 60)


def test_a_claim_that_somebody_else_took_is_left_alone(rollout):
    lost = Rollout.take_claim(rollout.pk, hold=timedelta(0))
    theirs = Rollout.take_claim(rollout.pk, hold=HOLD)
    theirs_ends = ends(rollout)
    with renewed(Rollout, rollout.pk, lost, hold=HOLD):
        time.sleep(TURN * 1.5)
        rollout.refresh_from_db()
        assert (rollout.claim, rollout.claim_until) == (theirs, theirs_ends)
