"""Many at once on real connections: who proposes, who works, whose claim ends meanwhile."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.db import connection
from django.db.models import F, Max, TextField, Value
from django.db.models.functions import Cast, Concat, Now
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.actions.waking import OPEN
from fleet.models import Rollout
from fleet.rules.phases import Phase
from tenants.errors import Conflict
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)
ACTS = ("propose", "work", "work", "finish", "expire")
SCRIPTS = st.lists(st.lists(st.sampled_from(ACTS), min_size=2, max_size=5), min_size=4, max_size=4)


@pytest.fixture
def stage():
    found = make_stage()
    found.releases = [found.release(commit) for commit in "bc"]
    return found


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(SCRIPTS)
def test_one_rollout_of_a_service_is_open_and_nothing_stale_is_written(stage, scripts):
    open_ones().update(phase=Phase.CANCELLED.value)
    begin = threading.Barrier(len(scripts))
    last = Rollout.objects.aggregate(last=Max("pk"))["last"] or 0
    with ThreadPoolExecutor(len(scripts)) as pool:
        numbered = enumerate(scripts)
        found = list(pool.map(lambda one: play(stage, begin, *one), numbered))
    assert max(most for most, _ in found) <= 1
    written = 0
    for why, fence in Rollout.objects.filter(pk__gt=last).values_list("why", "fence"):
        notes = [note.split("/") for note in why.split()[1:]]
        assert all(own == there for own, there in notes), why
        fences = [int(own) for own, _ in notes]
        assert fences == sorted(set(fences)) and all(f <= fence for f in fences), why
        written += len(fences)
    assert written == sum(recorded for _, recorded in found)


def open_ones():
    return Rollout.objects.filter(phase__in=OPEN)


def play(stage, begin, number, script) -> tuple[int, int]:
    """The most open rollouts that were ever seen, and how often a record was taken."""
    most = recorded = 0
    try:
        begin.wait(30)
        for act in script:
            if act == "propose":
                propose(stage, number)
            elif act == "expire":
                open_ones().update(claim_until=Now())
            else:
                recorded += work(ends=act == "finish")
            most = max(most, open_ones().count())
    finally:
        connection.close()
    return most, recorded


def propose(stage, number):
    with suppress(Conflict):  # one is open, or somebody else was first
        stage.propose(stage.releases[number % 2])


def work(*, ends) -> int:
    """As a pass: whether its record was taken. It notes its own fence beside the row's."""
    pk = open_ones().values_list("pk", flat=True).first()
    claim = Rollout.take_claim(pk) if pk else None
    if claim is None:
        return 0
    fence = Rollout.objects.filter(pk=pk, claim=claim).values_list("fence", flat=True).first()
    time.sleep(0.005)  # in which its claim may end
    there = Cast(F("fence"), TextField())
    note = Concat(F("why"), Value(f" {fence}/"), there, output_field=TextField())
    changes = {"phase": Phase.CANCELLED.value} if ends else {}
    taken = Rollout.record(pk, claim, why=note, **changes)
    assert taken or fence is None or Rollout.objects.get(pk=pk).fence > fence
    return taken
