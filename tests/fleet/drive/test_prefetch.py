"""The image is on nodes before anything moves: what comes of it, and what never waits for it."""

import pytest

from fleet.clients.errors import Permanent
from fleet.models import Cluster, RolloutFetch, Service
from fleet.queries.prefetch import BY_LIMIT, prefetch_of, unfetched
from fleet.rules.phases import FINAL, Cause, Phase
from fleet.rules.prefetch import LABEL
from fleet.rules.seen import release_of
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db
MAY = {"verb": "create", "group": "", "resource": "pods", "namespace": "models", "allowed": True}


@pytest.fixture
def stage():
    stage = make_stage()
    Cluster.objects.update(permissions=[MAY])
    return stage


def begun(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    return rollout


def waits(reason, message):
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}


def test_it_begins_when_the_image_is_there_and_leaves_nothing_behind(stage):
    rollout = begun(stage)
    stage.run(rollout, until={Phase.PREPARING})
    while not stage.fake.fetching:
        stage.step(rollout)
    (pod,) = stage.fake.fetching.values()
    stage.run(rollout, until={Phase.CANARY_STARTING})
    assert "is on 1 of 1 nodes" in rollout.why
    assert pod["metadata"]["labels"][LABEL] == rollout.to_release.fingerprint
    assert not release_of(pod)
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "Deployment"
    assert "nvidia.com/gpu" not in str(pod["spec"]["containers"])
    row = RolloutFetch.objects.get(rollout=rollout)
    assert (row.node, row.pod, row.state, row.gone_at) == (
        "gpu-1", pod["metadata"]["name"], "done", None,
    )  # fmt: skip
    assert row.made_at <= row.state_at
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert not stage.fake.fetching
    kept = prefetch_of(rollout)
    assert (kept.done, kept.skipped, [f.gone for f in kept.rows]) == (1, "", [True])
    assert kept.rows[0].gone_at > kept.rows[0].state_at


@pytest.mark.parametrize(
    ("said", "cause", "words"),
    [
        (waits("ErrImagePull", "x@sha256:1: not found"), Cause.IMAGE_PULL, "x@sha256:1: not found"),
        (waits("ImagePullBackOff", "no space left on device"), Cause.DISK_FULL, "gpu-1, its disk"),
        (waits("ImagePullBackOff", "503 of the registry"), Cause.IMAGE_PULL, "503 of the registry"),
    ],
)
def test_what_cannot_be_pulled_goes_back_before_any_replica_was_made(stage, said, cause, words):
    Service.objects.update(prefetch_seconds=60)
    stage.fake.fetches = {"phase": "Pending"} | said
    rollout, makes = begun(stage), []
    while Phase(rollout.phase) not in FINAL:
        stage.step(rollout)
        makes.append(len([p for p in stage.fake.pods.values() if release_of(p) != old(rollout)]))
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, cause), rollout.why
    assert words in rollout.why
    assert not any(makes)
    (row,) = prefetch_of(rollout).rows
    assert (row.state, row.gone) == ("disk" if cause == Cause.DISK_FULL else "registry", True)
    assert said["containerStatuses"][0]["state"]["waiting"]["message"] in row.trouble


def old(rollout):
    return rollout.from_release.fingerprint


def test_a_pull_that_goes_on_is_told_and_an_abort_does_not_wait_for_it(stage):
    stage.fake.fetches = {"phase": "Pending"}
    rollout = begun(stage)
    stage.run(rollout, until={Phase.PREPARING})
    for _ in range(3):
        stage.step(rollout)
    assert "on 0 of 1 nodes. Nothing moves before, at most 15 min" in rollout.why
    rollout.wish = "abort"
    rollout.save(update_fields=["wish"])
    calls = len(stage.fake.calls)
    stage.run(rollout)
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    assert not [c for c in stage.fake.calls[calls:] if c[0] in ("list_pods", "make")]


@pytest.mark.parametrize("why", ["setting", "permission"])
def test_it_is_skipped_by_setting_and_where_it_is_not_allowed(stage, why):
    if why == "setting":
        Service.objects.update(prefetch_seconds=0)
    else:
        Cluster.objects.update(permissions=[MAY | {"allowed": False}])
    rollout = begun(stage)
    stage.run(rollout, until={Phase.CANARY_STARTING})
    assert ("may not create pods" in rollout.why) == (why == "permission")
    kept = prefetch_of(rollout)
    assert ("may not create pods" in kept.skipped, kept.rows) == (why == "permission", ())
    assert (kept.skipped == BY_LIMIT) == (why == "setting")
    assert not [c for c in stage.fake.calls if c[0] in ("list_pods", "make")]
    (warning,) = unfetched(Service.objects.get(), Cluster.objects.get())
    assert ("may not create pods" if why == "permission" else "limit for that is 0 s") in warning


def test_a_quota_for_its_pods_is_told_and_holds_nothing_up_for_ever(stage, monkeypatch):
    def refuse(pod):
        raise Permanent("exceeded quota: pods", status=403)

    monkeypatch.setattr(stage.fake, "make", refuse)
    Service.objects.update(prefetch_seconds=30)
    rollout = begun(stage)
    stage.run(rollout, until={Phase.PREPARING})
    stage.step(rollout)
    stage.step(rollout)
    assert "exceeded quota: pods" in rollout.why
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
