"""Rollouts from a terminal: neither web tier nor Redis nor workers are needed."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from fleet.management.commands import rollout as command
from fleet.models import Rollout
from fleet.rules.phases import Phase
from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage(settings):
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1"
    return make_stage()


@pytest.fixture
def rollout(stage):
    found = stage.propose(stage.release("b"))
    stage.approve(found)
    return stage.run(found, until={Phase.ANALYZING})


def say(*args, **options):
    out = StringIO()
    call_command("rollout", *map(str, args), stdout=out, **options)
    return out.getvalue()


def test_it_lists_and_shows(rollout):
    assert f"{rollout.pk:>5} chat" in say("list")
    told = say("show", rollout.pk)
    assert "analyzing" in told
    assert "olga@example.com: Proposed: faster" in told


def test_it_goes_back_and_makes_the_passes_itself(stage, rollout, monkeypatch):
    def drive_here(rollout_id):
        stage.step(rollout)
        return stage.outside.clock() - stage.outside.clock()

    # The command's own loop, on the cluster in memory.
    monkeypatch.setattr(command, "drive", drive_here)
    told = say("abort", rollout.pk, why="the console is down", by="olga@example.com", drive=True)
    rollout.refresh_from_db()
    assert rollout.phase == Phase.ROLLED_BACK
    assert "rolled_back" in told
    with fleet_scope():
        event = AuditEvent.objects.get(verb="rollout.abort")
    assert (event.actor, event.why) == ("system:olga@example.com", "the console is down")


def test_it_pauses_and_resumes(stage, rollout):
    say("pause", rollout.pk)
    stage.step(rollout)
    assert rollout.phase == Phase.PAUSED
    say("resume", rollout.pk)
    stage.step(rollout)
    assert rollout.phase == Phase.ANALYZING


def test_it_prints_the_way_back_for_kubectl(rollout):
    told = say("plan", rollout.pk)
    lines = [line for line in told.splitlines() if line.startswith("kubectl")]
    assert "scale deployment" in lines[0]
    assert rollout.from_release.fingerprint in lines[0]
    assert lines[0].endswith("--replicas=4")
    assert "delete deployment" in lines[-1]
    assert rollout.to_release.fingerprint in lines[-1]


def test_it_refuses_with_the_sentence_of_the_page(rollout):
    with pytest.raises(CommandError, match="is not paused"):
        say("resume", rollout.pk)
    with pytest.raises(CommandError, match="no such rollout"):
        say("abort", 999_999)
    with pytest.raises(CommandError, match="number of the rollout"):
        say("abort")
    assert Rollout.objects.get().wish == "run"
