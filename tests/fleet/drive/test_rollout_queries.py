"""What pages read about releases and rollouts: complete, few queries, nothing for strangers."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fleet.models import ObservedEvent
from fleet.queries import releases, rollout_traffic, rollouts
from fleet.queries.plans import plan_rollout
from fleet.rules.phases import Phase
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import NotFound
from tenants.models import Tenant
from tests.fleet.drive.stage import make_stage, make_viewer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage():
    return make_stage()


@pytest.fixture
def rollout(stage):
    found = stage.propose(stage.release("b"))
    stage.approve(found)
    return stage.run(found)


def test_it_tells_the_whole_story_in_few_queries(stage, rollout):
    with (
        scope_of(stage.olga),
        CaptureQueriesContext(
            connection,
        ) as used,
    ):
        found = rollouts.get_rollout(stage.olga, rollout.pk)
    assert len(used) <= 15
    assert [s.state for s in found.steps] == ["passed", "passed"]
    assert [g.verdict for g in found.gates] == ["pass", "pass"]
    assert found.approval.decider == "vic@example.com"
    assert found.timeline[-1].phase == Phase.SUCCEEDED
    assert (found.new.wanted, found.new.weight) == (4, 100)
    assert found.can.roll_back
    assert not found.can.abort
    assert [(s.title, s.state) for s in found.table] == [
        ("First replicas", "passed"), ("10 %", "passed"), ("50 %", "passed"),
        ("100 %", "passed"), ("Soak", "passed"),
    ]  # fmt: skip
    assert [(s.new_was, s.old_was) for s in found.table] == [(s.new, s.old) for s in found.table]
    assert all(s.samples >= s.min_samples for s in found.table if s.min_samples)
    assert all(s.held_seconds is not None for s in found.table)


def test_it_tells_what_kubernetes_said_of_its_pods_while_it_went_on(stage, rollout):
    """A cluster in which another service restarts all day has events by the thousand, and what
    serves has more of its own when its rollout is long over.
    """
    name = f"chat-{rollout.to_release.fingerprint.removeprefix('rel-')[:8]}-x"
    during, later = rollout.started_at, rollout.ended_at + timedelta(hours=1)
    said = [("mine", name, during), ("after", name, later)]
    said += [(f"noise-{n}", f"other-{n}", rollout.ended_at) for n in range(400)]
    ObservedEvent.objects.bulk_create(
        ObservedEvent(cluster=stage.cluster, uid=uid, at=at, kind="Pod", name=of, reason=uid)
        for uid, of, at in said
    )
    with scope_of(stage.olga):
        found = rollouts.get_rollout(stage.olga, rollout.pk)
    assert [e.reason for e in found.cluster_events] == ["mine"]


def test_it_draws_the_traffic_of_both_releases(stage, rollout):
    with scope_of(stage.olga):
        points = rollout_traffic.traffic_of(stage.olga, rollout.pk, timezone.now())
    shares = [p.share for p in points if p.share is not None]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert any(0.4 < s < 0.6 for s in shares)


def test_it_knows_the_fate_of_each_release(stage, rollout):
    with scope_of(stage.olga):
        fates = {r.label: r.fate for r in releases.list_releases(stage.olga)}
        assert fates == {"r1": "unused", "r2": "serving"}
        assert by_fate(stage.olga) == {"unused": ["r1"], "serving": ["r2"]}
        detail = releases.get_release(stage.olga, rollout.to_release_id)
    assert detail.starts == 4
    assert detail.start_p95 > 0


def by_fate(viewer):
    """As the list's filter finds them; those of no release are left out."""
    fates = ("serving", "trying", "succeeded", "rolled_back", "unused")
    found = {fate: [str(r) for r in releases.search_releases(viewer, fate=fate)] for fate in fates}
    return {fate: labels for fate, labels in found.items() if labels}


def test_it_finds_releases_by_the_fate_that_it_shows(stage):
    crashing, waiting = stage.release("c"), stage.release("d")
    stage.fake.behave(crashing.fingerprint, "crash")
    rollout = stage.propose(crashing)
    with scope_of(stage.olga):
        assert by_fate(stage.olga)["trying"] == [str(crashing)]
    stage.approve(rollout)
    stage.run(rollout)
    with scope_of(stage.olga):
        shown = {r.label: r.fate for r in releases.list_releases(stage.olga)}
        found = {label: fate for fate, labels in by_fate(stage.olga).items() for label in labels}
    assert found == shown
    assert shown[str(crashing)] == "rolled_back"
    assert shown[str(waiting)] == "unused"


def test_it_says_why_and_how_fast_a_rollout_went_back(stage):
    release = stage.release("c")
    stage.fake.behave(release.fingerprint, "crash")
    rollout = stage.propose(release)
    stage.approve(rollout)
    stage.run(rollout)
    with scope_of(stage.olga):
        found = rollouts.get_rollout(stage.olga, rollout.pk)
    assert "r2 crashes" in found.back_because
    assert {s.state for s in found.steps} == {"not_reached"}


def test_it_measures_before_it_promises(stage, rollout):
    with scope_of(stage.olga):
        proposal = plan_rollout(stage.olga, stage.service.pk, rollout.from_release_id)
    assert proposal.situation.starts_new.borrowed
    assert any("0 starts" in c.text for c in proposal.checks)


def test_it_shows_strangers_nothing(stage, rollout):
    with fleet_scope():
        acme = Tenant.objects.create(slug="acme", name="Acme")
    mallory = make_viewer("mallory", "viewer", acme)
    asked = (
        lambda: rollouts.list_rollouts(mallory),
        lambda: rollouts.get_rollout(mallory, rollout.pk),
        lambda: releases.list_releases(mallory),
        lambda: releases.get_release(mallory, rollout.to_release_id),
        lambda: releases.compare_releases(mallory, rollout.from_release_id, rollout.to_release_id),
        lambda: rollout_traffic.traffic_of(mallory, rollout.pk, timezone.now()),
        lambda: plan_rollout(mallory, stage.service.pk, rollout.to_release_id),
    )
    for ask in asked:
        with scope_of(mallory), pytest.raises(NotFound):
            ask()
