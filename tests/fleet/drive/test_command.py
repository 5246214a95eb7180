"""Rollouts from a terminal: neither web tier nor Redis nor workers are needed."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from fleet.actions import rollouts as actions
from fleet.actions.freezes import create_freeze
from fleet.drive import foreground
from fleet.models import Rollout, RolloutLog
from fleet.rules.freeze import Window
from fleet.rules.phases import Phase
from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent, ChangeRequest, Tenant
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


@pytest.fixture
def here(stage, rollout, monkeypatch):
    """The command's own loop, on the cluster in memory."""

    def drive_here(rollout_id):
        stage.step(Rollout.objects.get(pk=rollout_id))
        return timedelta(0)

    monkeypatch.setattr(foreground, "drive", drive_here)


OLGA = {"as": "olga@example.com"}


def test_it_goes_back_and_makes_the_passes_itself(rollout, here):
    told = say("abort", rollout.pk, why="the console is down", drive=True, **OLGA)
    rollout.refresh_from_db()
    assert rollout.phase == Phase.ROLLED_BACK
    assert "rolled_back" in told
    with fleet_scope():
        event = AuditEvent.objects.get(verb="rollout.abort")
    assert (event.actor, event.via) == ("olga@example.com", "command")
    assert event.why == "the console is down"


def test_it_rescues_an_open_rollout_without_redis(rollout, here, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1"
    told = say("rescue", "chat", why="errors", **OLGA)
    rollout.refresh_from_db()
    assert rollout.phase == Phase.ROLLED_BACK
    assert f"RO-{rollout.pk}: back to r1" in told
    assert "100 % of the traffic on r1" in told or "Abort asked" in told


def test_it_rescues_a_finished_rollout_without_redis(stage, rollout, here, settings):
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED
    settings.REDIS_URL = "redis://127.0.0.1:1"
    say("rescue", "chat", why="answers got worse", **OLGA)
    back = Rollout.objects.get(is_rollback=True)
    assert back.phase == Phase.SUCCEEDED
    assert stage.fake.serving(rollout.from_release.fingerprint) == 4
    assert stage.fake.serving(rollout.to_release.fingerprint) == 0


def test_a_rescue_goes_back_although_a_proposal_waits(stage, rollout, here):
    """It ended the proposal, said that it was back on the bad release, and left it there."""
    stage.run(rollout)
    proposal = stage.propose(stage.release("c"))
    stage.step(proposal)
    assert "RO-" in say("rescue", "chat", print=True)
    told = say("rescue", "chat", why="answers got worse", **OLGA)
    back = Rollout.objects.get(is_rollback=True)
    assert f"{back}: back to r1" in told
    stage.service.refresh_from_db()
    assert stage.service.current_release == rollout.from_release
    proposal.refresh_from_db()
    assert (back.phase, proposal.phase) == (Phase.SUCCEEDED, Phase.CANCELLED)


def test_a_rescue_goes_on_with_a_way_back_that_waits_for_a_proposal(stage, rollout, here):
    """Asked on a page while nothing makes passes: the worker is down."""
    stage.run(rollout)
    proposal = stage.propose(stage.release("c"))
    back = stage.act(actions.roll_back, rollout.pk, why="worse")
    say("rescue", "chat", why="answers got worse", **OLGA)
    back.refresh_from_db()
    proposal.refresh_from_db()
    assert (back.phase, proposal.phase) == (Phase.SUCCEEDED, Phase.SUPERSEDED)
    assert Rollout.objects.filter(is_rollback=True).count() == 1


def test_a_rescue_never_undoes_a_way_back(stage, rollout, here):
    stage.run(rollout)
    back = stage.act(actions.roll_back, rollout.pk, why="worse")
    say("rescue", "chat", why="still worse", **OLGA)
    back.refresh_from_db()
    assert (back.phase, Rollout.objects.count()) == (Phase.SUCCEEDED, 2)


def test_a_rescue_asks_who_and_why(rollout):
    with pytest.raises(CommandError, match="Say who goes back"):
        say("rescue", "chat")
    with pytest.raises(CommandError, match="Nobody with the address"):
        say("rescue", "chat", why="errors", **{"as": "nobody@example.com"})
    with pytest.raises(CommandError, match="needs the permission"):
        say("rescue", "chat", why="errors", **{"as": "vic@example.com"})
    with pytest.raises(CommandError, match="no rollout of a service"):
        say("rescue", "other", why="errors", **OLGA)
    assert Rollout.objects.get().wish == "run"


def test_it_proposes_and_approves_as_two_people(stage):
    release = stage.release("b")
    told = say("propose", "chat", release.number, why="faster", soak=60, **OLGA)
    rollout = Rollout.objects.get()
    stage.step(rollout)
    digest = ChangeRequest.objects.get().digest
    assert digest in told
    with pytest.raises(CommandError, match="needs the permission"):
        say("approve", rollout.pk, digest=digest, **OLGA)
    say("approve", rollout.pk, digest=digest, **{"as": "vic@example.com"})
    stage.step(rollout)
    assert rollout.phase == Phase.PREPARING
    with pytest.raises(CommandError, match="no release r99"):
        say("propose", "chat", 99, why="faster", **OLGA)


def test_it_pauses_and_resumes(stage, rollout):
    say("pause", rollout.pk, **OLGA)
    stage.step(rollout)
    assert rollout.phase == Phase.PAUSED
    say("resume", rollout.pk, **OLGA)
    stage.step(rollout)
    assert rollout.phase == Phase.ANALYZING


def test_it_prints_the_way_back_for_kubectl(rollout):
    told = say("rescue", "chat", print=True)
    lines = [line for line in told.splitlines() if not line.startswith("#")]
    old, new = rollout.from_release.fingerprint, rollout.to_release.fingerprint
    # The old release still has all replicas: traffic goes first.
    assert new in lines[0] and '"status":"False"' in lines[0]
    assert old in lines[1] and "apply --server-side" in lines[1]
    assert lines[-2].startswith("kubectl -n models delete deployment chat-")
    assert "rescue chat" in told.splitlines()[-1]


def test_it_refuses_with_the_sentence_of_the_page(rollout):
    with pytest.raises(CommandError, match="is not paused"):
        say("resume", rollout.pk, **OLGA)
    with pytest.raises(CommandError, match="no such rollout"):
        say("abort", 999_999, why="x", **OLGA)
    with pytest.raises(CommandError, match="--as"):
        say("abort", rollout.pk)
    assert Rollout.objects.get().wish == "run"


def test_it_compares_all_ways_and_stores_nothing(stage):
    release = stage.release("b")
    told = say("plan", "chat", release.number, "--step", "25, 300, 100")
    assert "surge_canary: possible" in told
    assert "recreate: needs_consent" in told
    assert "GPUs on top 1, at least 4 replicas (100 %)" in told
    assert "changes" in told
    assert "begins: " in told
    assert "as soon as it is approved" in told
    assert "cold start" in told
    assert not Rollout.objects.exists()


def test_it_takes_a_stated_time(stage):
    number = stage.release("b").number
    with pytest.raises(CommandError, match="is not like 2026-11-30T22:00Z"):
        say("plan", "chat", number, "--begins-from", "tonight")
    with pytest.raises(CommandError, match="That is over"):
        say("propose", "chat", number, "--begins-before", "2020-01-01T00:00Z", why="x", **OLGA)
    say("propose", "chat", number, "--begins-from", "2020-01-01T00:00", why="x", **OLGA)
    assert Rollout.objects.get().plan["begins"]["opens"] == "2020-01-01T00:00:00+00:00"


def test_it_proposes_with_those_who_go_first_and_last(stage):
    with fleet_scope():
        Tenant.objects.create(slug="acme", name="Acme")
        Tenant.objects.create(slug="globex", name="Globex")
    release = stage.release("b")
    told = say(
        "propose", "chat", release.number, "--first", "acme", "--last", "globex",
        why="faster", **OLGA,
    )  # fmt: skip
    assert "acme" in told
    assert "globex" in told
    with pytest.raises(CommandError, match="no tenant 'nobody'"):
        say("propose", "chat", release.number, "--first", "nobody", why="faster", **OLGA)


def test_it_proposes_with_limits_and_shows_figures_and_limits(stage):
    release = stage.release("b")
    given = ("propose", "chat", release.number, "--limit", "ttft_ratio=2", "--limit")
    told = say(*given, "gpu_ratio=none", why="faster", **OLGA)
    assert "TTFT 2 times stable's" in told
    assert "GPU time of a token shown, not judged" in told
    with pytest.raises(CommandError, match="no limit 'speed'"):
        say(*given, "speed=2", why="faster", **OLGA)
    found = Rollout.objects.latest("pk")
    stage.approve(found)
    stage.run(found, until={Phase.SHIFTING})
    stage.run(found, until={Phase.ANALYZING})
    for _ in range(4):
        stage.step(found)
    told = say("show", found.pk)
    assert "error_ratio: " in told and "canary 0.00%, stable 0.00%, limit 1.00%" in told
    assert "preemptions: shown" in told


def test_it_shows_gates_pods_and_cost_and_skips_a_gate(stage, rollout):
    told = say("show", rollout.pk)
    assert "step 1, 10 %: now" in told
    assert "10 %, everybody: r2 1 + r1 4 (was 1 + 4), hold" in told
    assert "Soak, everybody: r2 4 + r1 1, hold" in told
    assert "pod chat-" in told
    assert "answers as rel-" in told
    with pytest.raises(CommandError, match="no gate of step 2 is open"):
        say("skip-gate", rollout.pk, "--gate", 2, why="known", **OLGA)
    assert "Gate of step 1 skipped: known" in say(
        "skip-gate", rollout.pk, "--gate", 1, why="known", **OLGA
    )


def test_it_shows_the_log_of_what_failed(stage):
    release = stage.release("b")
    stage.fake.behaviours[release.fingerprint] = "crash"
    rollout = stage.propose(release)
    stage.approve(rollout)
    stage.run(rollout)
    told = say("show", rollout.pk)
    assert "| RuntimeError: before" in told
    number = RolloutLog.objects.get(previous=True).pk
    assert "HF_TOKEN=[masked]" in say("log", rollout.pk, number)
    with pytest.raises(CommandError, match="no such log"):
        say("log", rollout.pk, 999_999)


def test_it_tells_turns_the_calendar_and_sequences(stage):
    assert "No rollout waits" in say("queue")
    assert "calendar is empty" in say("freezes")
    assert say("sequences") == ""
    with pytest.raises(CommandError, match="no such sequence"):
        say("sequence", 999, "pause", why="x", **OLGA)
    rollout = stage.propose(stage.release("b"))
    stage.act(create_freeze, Window("Closing", "books", timezone.now(), None))
    assert "Closing, everything" in say("freezes")
    told = say("exception", rollout.pk, why="a security fix", **OLGA)
    assert "waits for somebody else" in told
