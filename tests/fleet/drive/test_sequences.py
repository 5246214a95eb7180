"""A release goes through two clusters: in order, with a bake, around a lost one, and back."""

from dataclasses import replace

import pytest

from fleet.actions import freezes, placements, sequences
from fleet.actions.rollouts import roll_back
from fleet.actions.stages import begin_stage
from fleet.drive.sequence import viewer
from fleet.models import Cluster, Finding, Node, Release, Rollout, Service
from fleet.queries.releases import spec_of
from fleet.queries.sequences import get_sequence, list_sequences
from fleet.rules.freeze import Window
from fleet.rules.sequence import Phase, StageState
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Invalid
from tenants.models import AuditEvent, ChangeRequest
from tests.fleet.drive.two_clusters import BAKE, make_two_clusters
from tests.fleet.makers import make_cluster

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def both():
    return make_two_clusters()


def begun(both, **changes):
    sequence = both.propose(**changes)
    both.approve(sequence)
    return sequence


def stage_in(sequence, cluster):
    return sequence.stages.select_related("rollout", "back").get(cluster__slug=cluster)


def serving(both):
    return [str(Service.objects.get(pk=s.service.pk).current_release) for s in both.stages]


def test_it_goes_through_both_clusters_home_at_last_and_bakes_between(both):
    sequence = begun(both)
    assert [s.cluster.slug for s in sequence.stages.order_by("number")] == ["west", "east"]
    both.until(sequence, lambda: stage_in(sequence, "west").state == StageState.BAKING)
    assert serving(both) == ["r1", "r2"]
    assert not Rollout.objects.filter(service=both.home.service).exists()
    both.run(sequence)
    assert sequence.phase == Phase.SUCCEEDED, sequence.why
    assert serving(both) == ["r2", "r2"]
    west, east = (stage_in(sequence, slug).rollout for slug in ("west", "east"))
    assert (east.created_at - west.created_at).total_seconds() >= 0
    assert east.started_at.timestamp() - west.ended_at.timestamp() >= BAKE
    assert sequence.why == "r2 serves in west and east"
    with fleet_scope():
        verbs = AuditEvent.objects.filter(verb__startswith="sequence.").order_by("id")
        assert list(verbs.values_list("verb", flat=True)) == [
            "sequence.propose", "sequence.succeeded",
        ]  # fmt: skip


def test_one_approval_binds_the_manifests_of_every_cluster(both):
    sequence = both.propose(limits={"ttft_ratio": 2.0, "gpu_ratio": None})
    change = ChangeRequest.objects.get(pk=sequence.change_id)
    words = {"TTFT": "2 times stable's", "GPU time of a token": "shown, not judged"}
    assert change.payload["gate_limits"] == words
    assert set(change.payload["manifests"]) == {"chat", "chat-west"}
    assert len(set(change.payload["manifests"].values())) == 2
    both.step(sequence)
    assert sequence.phase == Phase.AWAITING_APPROVAL
    assert not Rollout.objects.exists()
    both.approve(sequence)
    both.until(sequence, lambda: stage_in(sequence, "west").rollout is not None)
    rollout = stage_in(sequence, "west").rollout
    both.until(sequence, lambda: Rollout.objects.get(pk=rollout.pk).phase == "preparing")
    told = Rollout.objects.get(pk=rollout.pk).timeline.get(phase="preparing").why
    assert told == "Approved by vic@example.com"
    limits = rollout.plan["numbers"]["limits"]
    assert (limits["ttft_ratio"], limits["gpu_ratio"], limits["itl_ratio"]) == (2.0, None, 1.15)


def test_it_does_not_apply_what_nobody_approved(both):
    sequence = begun(both)
    Cluster.objects.filter(slug="west").update(namespace="elsewhere")
    both.step(sequence)
    both.step(sequence)
    assert not Rollout.objects.exists()
    assert "What was approved for west is not what would be applied now" in sequence.why


def test_it_begins_in_no_other_cluster_than_was_approved(both):
    """A placement without a release may still be moved: its manifests are the same there."""
    sequence = begun(both)
    north = make_cluster("north", observed_at=both.home.fake.now)
    Node.objects.filter(cluster=both.west.cluster).update(cluster=north)
    Service.objects.filter(pk=both.west.service.pk).update(cluster=north)
    both.step(sequence)
    both.step(sequence)
    assert not Rollout.objects.exists()
    assert "What was approved is chat-west in west, and it is placed in north now" in sequence.why


def test_a_rollout_changed_behind_the_approval_is_rejected(both):
    sequence = begun(both)
    both.until(sequence, lambda: stage_in(sequence, "west").rollout is not None)
    rollout = stage_in(sequence, "west").rollout
    rollout.manifests[-1]["spec"]["paused"] = True
    rollout.save(update_fields=["manifests"])
    both.until(sequence, lambda: sequence.phase == Phase.PAUSED)
    assert "What was approved is not what would be applied" in sequence.why


def test_a_lost_cluster_freezes_its_part_and_the_other_finishes(both):
    sequence = begun(both)
    both.until(sequence, lambda: stage_in(sequence, "west").state == StageState.MOVING)
    both.until(sequence, lambda: stage_in(sequence, "east").state == StageState.DONE, ("west",))
    west = stage_in(sequence, "west")
    assert (west.state, west.frozen) == (StageState.MOVING, True)
    assert "Frozen: west is lost. Last observed" in west.why
    assert sequence.phase == Phase.RUNNING
    both.step(sequence, ("west",))
    assert "All others are done. Frozen until seen again: west" in sequence.why
    assert serving(both) == ["r2", "r1"]
    both.run(sequence)
    assert sequence.phase == Phase.SUCCEEDED, sequence.why
    assert serving(both) == ["r2", "r2"]


def test_a_lost_cluster_may_be_left_out(both):
    sequence = begun(both)
    both.until(sequence, lambda: stage_in(sequence, "east").state == StageState.DONE, ("west",))
    with pytest.raises(Invalid, match="Say why"):
        both.act(sequences.leave_out, sequence.pk, 1, why=" ")
    both.act(sequences.leave_out, sequence.pk, 1, why="the racks move")
    both.run(sequence, lost=("west",))
    assert sequence.why == "r2 serves in east; west was left out"


def test_a_bad_release_stops_in_the_first_cluster(both):
    both.west.fake.behave(fingerprint(both, sequence := begun(both)), "crash")
    both.until(sequence, lambda: sequence.phase == Phase.PAUSED)
    assert sequence.why.startswith("Stopped in west. RO-")
    assert serving(both) == ["r1", "r1"]
    both.step(sequence)
    assert not Rollout.objects.filter(service=both.home.service).exists()
    both.west.fake.behave(fingerprint(both, sequence), "good")
    both.resume(sequence, why="the image is there now")
    both.run(sequence)
    assert sequence.phase == Phase.SUCCEEDED, sequence.why
    assert Rollout.objects.filter(service=both.west.service).count() == 2


def fingerprint(both, sequence):
    return stage_in(sequence, "west").release.fingerprint


def test_all_clusters_go_back_at_once(both):
    sequence = begun(both)
    both.until(sequence, lambda: stage_in(sequence, "east").state == StageState.MOVING)
    both.act(sequences.roll_back_sequence, sequence.pk, why="answers are wrong")
    both.run(sequence)
    assert sequence.phase == Phase.ROLLED_BACK, sequence.why
    assert sequence.why == "r2 was taken back in west and east"
    assert serving(both) == ["r1", "r1"]
    west, east = stage_in(sequence, "west"), stage_in(sequence, "east")
    assert west.back.is_rollback and west.back != west.rollout
    assert east.back == east.rollout  # it was open: aborted


def test_a_lost_cluster_goes_back_when_it_is_seen_again(both):
    sequence = begun(both)
    both.until(sequence, lambda: stage_in(sequence, "east").state == StageState.MOVING)
    both.act(sequences.roll_back_sequence, sequence.pk, why="answers are wrong")
    both.until(sequence, lambda: stage_in(sequence, "east").state == StageState.BACK, ("west",))
    assert sequence.phase == Phase.ROLLING_BACK
    both.run(sequence)
    assert (sequence.phase, serving(both)) == (Phase.ROLLED_BACK, ["r1", "r1"])


def test_a_finding_while_it_bakes_stops_it(both):
    sequence = begun(both)
    both.until(sequence, lambda: stage_in(sequence, "west").state == StageState.BAKING)
    with fleet_scope():
        Finding.objects.create(
            tenant_id=1, service=both.west.service, traffic_class="interactive", symptom="itl",
            started_at=both.home.fake.now, seen_at=both.home.fake.now, cause="rollout",
            sentence="acme waits too long between tokens",
        )  # fmt: skip
    both.step(sequence)
    assert sequence.phase == Phase.PAUSED
    assert "While it baked: acme waits too long between tokens" in sequence.why


def test_a_way_back_by_somebody_else_stops_it(both):
    sequence = begun(both)
    both.until(sequence, lambda: stage_in(sequence, "west").state == StageState.BAKING)
    both.act(roll_back, stage_in(sequence, "west").rollout_id, why="odd answers")
    both.until(sequence, lambda: sequence.phase == Phase.PAUSED)
    assert "r2 does not stay in west" in sequence.why


def test_a_freeze_of_a_cluster_holds_its_stage(both):
    now = both.home.fake.now
    window = Window("Holidays", "nobody is up", now)
    both.act(freezes.create_freeze, window, cluster_id=both.west.cluster.pk)
    sequence = begun(both)
    for _ in range(5):
        both.step(sequence)
    assert "“Holidays” lets no rollout begin" in sequence.why
    assert stage_in(sequence, "west").rollout.started_at is None


def test_a_pause_and_an_end(both):
    sequence = begun(both)
    both.until(sequence, lambda: stage_in(sequence, "west").state == StageState.MOVING)
    with pytest.raises(Conflict, match="is not paused"):
        both.act(sequences.resume_sequence, sequence.pk)
    with pytest.raises(Conflict, match="abort or pause its rollout instead"):
        both.act(sequences.leave_out, sequence.pk, 1, why="no")
    both.act(sequences.pause_sequence, sequence.pk, why="lunch")
    both.until(sequence, lambda: stage_in(sequence, "west").state == StageState.DONE)
    both.step(sequence)
    assert sequence.why == (
        "Paused by olga@example.com: lunch. What is open goes on, nothing else begins"
    )
    both.act(sequences.end_sequence, sequence.pk, why="half is enough")
    both.run(sequence)
    assert sequence.phase == Phase.CANCELLED
    assert serving(both) == ["r1", "r2"]
    with pytest.raises(Conflict, match="has ended as cancelled"):
        both.act(sequences.pause_sequence, sequence.pk)


def test_an_end_before_the_approval_withdraws_it(both):
    sequence = both.propose()
    both.act(sequences.end_sequence, sequence.pk, why="a mistake")
    both.step(sequence)
    assert sequence.phase == Phase.CANCELLED
    assert ChangeRequest.objects.get(pk=sequence.change_id).state == "withdrawn"


def test_the_same_content_is_one_release_in_each_cluster(both):
    sequence = both.propose()
    west = stage_in(sequence, "west").release
    assert (west.service.name, west.note) == ("chat-west", "As r2 of chat")
    both.act(sequences.end_sequence, sequence.pk)
    both.step(sequence)
    again = both.act(sequences.propose_sequence, sequence.release_id, bake_seconds=0)
    assert stage_in(again, "west").release == west
    assert Release.objects.filter(service=both.west.service).count() == 2


REFUSED = {
    "a second one": ({}, Conflict, "of this service is open"),
    "an order that misses a cluster": ({"order": ["chat"]}, Invalid, "Name each of chat"),
    "a bake without end": ({"bake_seconds": 10**9}, Invalid, "two weeks"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses(both, name):
    fields, error, said = REFUSED[name]
    if name == "a second one":
        both.propose()
    with pytest.raises(error, match=said):
        both.propose("c", **fields)


def test_it_refuses_a_service_of_one_cluster(both):
    both.act(placements.set_placements, both.home.service.pk, [])
    with pytest.raises(Conflict, match="is in one cluster only"):
        both.propose()


def test_the_stated_order_is_kept(both):
    sequence = begun(both, order=["chat", "chat-west"])
    both.until(sequence, lambda: stage_in(sequence, "east").state == StageState.BAKING)
    assert serving(both) == ["r2", "r1"]


def test_a_second_pass_opens_no_second_rollout(both):
    sequence = begun(both)
    both.step(sequence)
    both.step(sequence)
    with fleet_scope():
        first = begin_stage(viewer(), sequence, 1)
        assert begin_stage(viewer(), sequence, 1) == first
    assert Rollout.objects.count() == 1


def test_it_is_shown_with_its_stages_and_timeline(both):
    sequence = begun(both)
    both.until(sequence, lambda: stage_in(sequence, "west").state == StageState.BAKING)
    with scope_of(both.home.olga):
        (row,) = list_sequences(both.home.olga, service_id=both.west.service.pk, only_open=True)
        found = get_sequence(both.home.olga, sequence.pk)
    assert row == found.sequence
    west, east = row.stages
    assert (west.shown, east.shown) == ("baking", "pending")
    assert west.bakes_until > west.since
    assert found.approval.is_approved
    assert [e.state for e in reversed(found.timeline)][:3] == [
        "awaiting_approval", "running", "running",
    ]  # fmt: skip


PLACED_WRONG = {
    "itself": (["chat"], "chat answers for itself"),
    "twice": (["chat-west", "chat-west"], "stands twice"),
    "nobody": (["nobody"], "There is no service 'nobody'"),
    "the same cluster": (["twin"], "twin and chat are in one cluster"),
    "nowhere": (["homeless"], "homeless has no cluster yet"),
    "a shorter context": (["short"], "a request must fit wherever it goes"),
}


@pytest.mark.parametrize("name", PLACED_WRONG)
def test_it_refuses_placements_that_make_no_sense(both, name):
    Service.objects.create(name="twin", cluster=both.home.cluster)
    Service.objects.create(name="homeless")
    Service.objects.create(name="short", cluster=both.west.cluster, max_model_len=2048)
    names, said = PLACED_WRONG[name]
    with pytest.raises(Invalid, match=said):
        both.act(placements.set_placements, both.home.service.pk, names)


def test_placements_stay_while_a_sequence_is_open(both):
    both.propose()
    with pytest.raises(Conflict, match="they stay as they are until it ends"):
        both.act(placements.set_placements, both.home.service.pk, [])


PINS = {
    "configs": {"prompts": "sha256:" + "1" * 64},
    "secrets": {"hub": "sha256:" + "2" * 64},
    "adapters": [{"name": "polite", "path": "/adapters/polite", "digest": "sha256:" + "3" * 64}],
    "confidential": True,
}
GROUP = {
    "arguments": ['--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_both"}'],
    "roles": [{"name": "prefill", "replicas": 1}, {"name": "decode", "replicas": 2}],
}
CONTENTS = {
    "pins": {"pins": PINS, "arguments": ["--enable-lora"], "environment": {"TZ": "UTC"}},
    "roles": GROUP,
}


@pytest.mark.parametrize("content", CONTENTS)
def test_the_release_of_another_cluster_has_all_of_the_content(both, content):
    Cluster.objects.update(confidential=True)
    release = both.home.release("b", **CONTENTS[content])
    with scope_of(both.home.olga):
        found = sequences.mirrored(both.home.olga, release, both.west.service)
        again = sequences.mirrored(both.home.olga, release, both.west.service)
    assert again == found
    assert replace(spec_of(found), service="chat") == spec_of(release)


def test_a_proposal_that_nobody_approved_stands_in_no_way_back(both):
    """It was told that nothing had begun, while the cluster went on serving the bad release."""
    sequence = both.propose()
    both.approve(sequence)
    first = sequence.stages.get(number=1)
    both.until(sequence, lambda: sequence.stages.get(number=1).state == StageState.BAKING)
    proposal = both.west.propose(both.west.release("d"))
    both.act(sequences.roll_back_sequence, sequence.pk, why="answers are wrong")
    both.until(sequence, lambda: sequence.phase == "rolled_back")
    both.west.service.refresh_from_db()
    assert both.west.service.current_release_id != first.release_id
    proposal.refresh_from_db()
    assert proposal.phase == "superseded", proposal.why
