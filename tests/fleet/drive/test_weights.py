"""Weights of a hub are in their cache before anything moves, or nothing moves."""

import pytest

from fleet.models import Cluster, RolloutFetch, Service
from fleet.queries.prefetch import prefetch_of
from fleet.rules.phases import FINAL, Cause, Phase
from fleet.rules.prefetch import BRINGS, NODE
from fleet.rules.seen import release_of
from fleet.rules.weights import PLACE
from fleet.rules.weights_script import SCRIPT
from tests.fleet.drive.stage import make_stage
from tests.fleet.drive.test_prefetch import MAY

pytestmark = pytest.mark.django_db
CACHES = {"directory": "/srv/weights", "claim": "models-cache"}


@pytest.fixture
def stage(settings):
    settings.QM_MODEL_HUB = "https://hub.example"
    stage = make_stage()
    Cluster.objects.update(permissions=[MAY], weights_secret="hub-token")
    stage.fake.claims.add("models-cache")
    return stage


def begun(stage, cache):
    Cluster.objects.update(weights_cache=cache)
    stage.service.cluster.refresh_from_db()
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    return rollout


def ended(message):
    state = {"terminated": {"reason": "Error", "exitCode": 1, "message": message}}
    waits = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    return {"phase": "Running", "containerStatuses": [{"state": waits, "lastState": state}]}


def of_new(stage, rollout):
    old = rollout.from_release.fingerprint
    return [p for p in stage.fake.pods.values() if release_of(p) != old]


def walk(stage, rollout):
    """To its end; whether an engine of the new release was ever there."""
    made = False
    while Phase(rollout.phase) not in FINAL:
        stage.step(rollout)
        made = made or bool(of_new(stage, rollout))
    return made


@pytest.mark.parametrize("kind", CACHES)
def test_they_are_brought_with_the_releases_image_and_then_it_begins(stage, kind):
    rollout = begun(stage, CACHES[kind])
    seen = {}
    while rollout.phase != Phase.CANARY_STARTING:
        stage.step(rollout)
        seen |= {p["metadata"]["annotations"][NODE]: p for p in stage.fake.fetching.values()}
    assert rollout.to_release.pins == {"weights": CACHES[kind]}
    bring = {n: p for n, p in seen.items() if BRINGS in p["metadata"]["annotations"]}
    assert list(bring) == (["gpu-1"] if kind == "directory" else ["claim models-cache"])
    assert "gpu-1" in seen
    (pod,) = bring.values()
    (container,) = pod["spec"]["containers"]
    assert container["args"][1] == rollout.to_release.model_version.commit
    assert container["command"] == ["python3", "-c", SCRIPT]
    assert {"name": "weights", "mountPath": PLACE} in container["volumeMounts"]
    assert "nvidia.com/gpu" not in str(container["resources"])
    assert ("affinity" in pod["spec"]) == (kind == "directory")
    where = "are on 1" if kind == "directory" else "are in claim models-cache"
    assert f"its weights {where}" in rollout.why
    assert not walk(stage, rollout) or rollout.phase == Phase.SUCCEEDED, rollout.why
    assert [r.weights for r in prefetch_of(rollout).brings] == ["done"]


ENDS = {
    "commit": ("commit: RevisionNotFoundError: 404", Cause.WEIGHTS, "the hub has no such commit"),
    "access": ("access: GatedRepoError: 403", Cause.WEIGHTS, "the hub does not allow it"),
    "hub": ("hub: ConnectError: refused", Cause.WEIGHTS, "cannot: they start offline"),
    "disk": ("disk: OSError: No space left", Cause.DISK_FULL, "its disk is full"),
    "failed": ("failed: PermissionError: /weights", Cause.WEIGHTS, "the download failed"),
}


@pytest.mark.parametrize("cache", CACHES.values(), ids=CACHES)
@pytest.mark.parametrize("kind", ENDS)
def test_each_trouble_goes_back_before_any_engine_was_made(stage, kind, cache):
    message, cause, words = ENDS[kind]
    Service.objects.update(prefetch_seconds=60)
    stage.fake.fetches = ended(message)
    rollout = begun(stage, cache)
    assert not walk(stage, rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, cause), rollout.why
    assert words in rollout.why
    brings = prefetch_of(rollout).brings
    assert {r.weights for r in brings} == {kind}
    assert message.partition(": ")[2] in brings[0].trouble


def test_a_download_that_goes_on_is_told_apart_from_the_image(stage):
    stage.fake.fetches = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}
    rollout = begun(stage, "/srv/weights")
    stage.run(rollout, until={Phase.PREPARING})
    for _ in range(3):
        stage.step(rollout)
    assert "is on 1 of 1 nodes, its weights are on 0. Nothing moves before" in rollout.why
    row = RolloutFetch.objects.get(rollout=rollout)
    assert row.state == "loading"
    assert prefetch_of(rollout).rows[0].weights == "pulling"


def test_a_claim_that_is_not_there_is_refused_before_anybody_approves(stage):
    stage.fake.claims.clear()
    Cluster.objects.update(weights_cache="models-cache")
    rollout = stage.propose(stage.release("b"))
    stage.run(rollout)
    assert rollout.phase == Phase.REJECTED
    assert "There is no PersistentVolumeClaim models-cache" in rollout.why


def test_a_release_from_before_goes_as_it_was(stage):
    release = stage.release("b")
    Cluster.objects.update(weights_cache="/srv/weights")
    rollout = stage.propose(release)
    stage.approve(rollout)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert "/srv/weights" not in str(rollout.manifests)


def test_without_the_right_to_make_pods_it_says_that_weights_are_not_brought(stage):
    Cluster.objects.update(permissions=[MAY | {"allowed": False}])
    rollout = begun(stage, "/srv/weights")
    stage.run(rollout, until={Phase.CANARY_STARTING})
    assert "Nor are its weights" in rollout.why
