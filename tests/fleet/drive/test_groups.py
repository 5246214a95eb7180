"""A release of prefill and decode on the real database: it moves as one and returns as one."""

from collections import Counter

import pytest
from django.utils import timezone

from fleet.actions.rollouts import abort_rollout
from fleet.drive import place
from fleet.drive.keep import due_deployments, keep
from fleet.models import Deployment, Drift, Node, ObservedPod
from fleet.queries.routing import build_routing
from fleet.rules.manifests import RELEASE, ROLE
from fleet.rules.phases import Cause, Phase, PlanKind
from tenants.errors import Invalid
from tests.fleet.drive.stage import PRODUCT, make_stage

pytestmark = pytest.mark.django_db(transaction=True)

NIXL = '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_both"}'
L40S = "NVIDIA-L40S"
GROUP = {
    "arguments": [NIXL],
    "roles": [{"name": "prefill", "replicas": 1}, {"name": "decode", "replicas": 2}],
}


@pytest.fixture
def stage():
    """Two replicas of three pods serve; there is room for one more."""
    return make_stage(replicas=2, gpus=9, **GROUP)


def run(stage, rollout, **more):
    """Pass after pass; after each the roles of each release stand for the same replicas."""
    seen = []
    while not stage_is_over(rollout) and len(seen) < 200:
        stage.step(rollout, **more)
        seen.append(numbers(stage))
        assert even(seen[-1]), seen[-1]
    return seen


def stage_is_over(rollout):
    return Phase(rollout.phase) in (Phase.SUCCEEDED, Phase.ROLLED_BACK)


def numbers(stage):
    """Wanted pods of prefill and decode, by release."""
    found = {}
    for one in stage.fake.deployments.values():
        labels = one["metadata"]["labels"]
        found.setdefault(labels[RELEASE], {})[labels[ROLE]] = one["spec"]["replicas"]
    return {r: (n.get("prefill", 0), n.get("decode", 0)) for r, n in found.items()}


def even(found):
    """Each release stands for whole replicas; of one that leaves, prefill goes before decode."""
    return all(decode == 2 * prefill or not prefill for prefill, decode in found.values())


def deployment(stage, release, role):
    wanted = {RELEASE: release.fingerprint, ROLE: role}.items()
    found = stage.fake.deployments.items()
    return next((n, d) for n, d in found if wanted <= d["metadata"]["labels"].items())


def answering(stage, release):
    pods = (p for p in stage.fake.pods.values() if "deletionTimestamp" not in p["metadata"])
    ready = [p for p in pods if stage.fake._is(p, "Ready")]
    return Counter(
        p["metadata"]["labels"][ROLE]
        for p in ready
        if p["metadata"]["labels"][RELEASE] == release.fingerprint
    )


def test_a_group_moves_as_one_and_never_below_its_minimum(stage):
    old = stage.service.current_release
    rollout = stage.propose(stage.release("b", **GROUP))
    assert rollout.plan["numbers"]["needs"][0]["pods"] == [1, 1, 1]
    stage.approve(rollout)
    least = []
    while not stage_is_over(rollout):
        stage.step(rollout)
        assert even(numbers(stage)), numbers(stage)
        both = [answering(stage, r) for r in (old, rollout.to_release)]
        least.append(sum(min(c["prefill"], c["decode"] // 2) for c in both))
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert min(least) >= 2
    assert answering(stage, rollout.to_release) == {"prefill": 2, "decode": 4}
    assert not answering(stage, old)
    assert {p.role for p in ObservedPod.objects.all()} == {"prefill", "decode"}


def test_a_group_on_two_gpu_products_moves_within_what_each_has(stage):
    """Decodes move to GPUs of their own; those of the old ones are not theirs."""
    Node.objects.update(gpus_allocatable=7, gpus_used=6)
    Node.objects.create(
        cluster=stage.cluster, name="small", gpu_product=L40S, gpus_allocatable=4, gpus_used=0,
        ready=True, changed_at=timezone.now(), observed_at=timezone.now(),
    )  # fmt: skip
    stage.fake.gpus = {PRODUCT: 7, L40S: 4}
    decode = {"name": "decode", "replicas": 2, "resources": {"gpu_product": L40S}}
    apart = stage.release("b", arguments=[NIXL], roles=[GROUP["roles"][0], decode])
    rollout = stage.propose(apart)
    assert rollout.plan["plan"]["products"] == [
        {"product": PRODUCT, "gpus": 1, "free": 1, "claimed": 0, "missing": 0},
        {"product": L40S, "gpus": 4, "free": 4, "claimed": 0, "missing": 0},
    ]
    stage.approve(rollout)
    run(stage, rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert rollout.memory["least_serving"] == 2
    assert stage.fake.used(PRODUCT) == 2
    assert stage.fake.used(L40S) == 4


def test_it_goes_back_as_a_whole_when_one_role_fails(stage):
    old = stage.service.current_release
    release = stage.release("b", **GROUP)
    stage.fake.behave(f"{release.fingerprint}/decode", "crash")
    rollout = stage.propose(release)
    stage.approve(rollout)
    run(stage, rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.CRASH_LOOP), rollout.why
    assert numbers(stage) == {old.fingerprint: (2, 4)}
    assert answering(stage, old) == {"prefill": 2, "decode": 4}
    row = Deployment.objects.get(release=old)
    assert (row.replicas, row.weight) == (2, 100)


def test_a_decode_that_is_ready_without_prefill_is_no_canary(stage):
    release = stage.release("b", **GROUP)
    stage.fake.behave(f"{release.fingerprint}/prefill", "never_ready")
    rollout = stage.propose(release)
    stage.approve(rollout)
    run(stage, rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.NEVER_READY), rollout.why
    assert "0 of 1 replicas loaded" in rollout.why


def test_gateways_pair_pods_of_one_release_at_every_pass(stage):
    rollout = stage.propose(stage.release("b", **GROUP))
    stage.approve(rollout)
    while not stage_is_over(rollout):
        stage.step(rollout)
        pods = dict(ObservedPod.objects.values_list("name", "release"))
        for pool in build_routing(stage.fake.now).services["chat"].pools:
            met = {pods[e.pod] for e in (*pool.prefill, *pool.endpoints)}
            assert met <= {pool.release}
            assert bool(pool.prefill) == bool(pool.endpoints)


def test_from_one_pod_to_a_group_and_back(stage):
    whole = stage.release("c", arguments=[])
    rollout = stage.propose(whole, replicas=2)
    stage.approve(rollout)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    stage.service.refresh_from_db()
    again = stage.propose(stage.release("d", **GROUP), replicas=2, kind=PlanKind.BLUE_GREEN)
    stage.approve(again)
    stage.run(again)
    assert again.phase == Phase.SUCCEEDED, again.why
    assert answering(stage, again.to_release) == {"prefill": 2, "decode": 4}


def test_a_write_that_was_cut_in_the_middle_is_made_whole(stage):
    """The worker dies between the two Deployments of the canary."""
    rollout = stage.propose(stage.release("b", **GROUP))
    stage.approve(rollout)
    while rollout.phase != Phase.CANARY_STARTING:
        stage.step(rollout)
    name, _ = deployment(stage, rollout.to_release, "prefill")
    stage.fake.deployments[name]["spec"]["replicas"] = 2
    run_until_even(stage, rollout)
    run(stage, rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why


def run_until_even(stage, rollout):
    for _ in range(5):
        stage.step(rollout)
        if even(numbers(stage)):
            return
    raise AssertionError(numbers(stage))


@pytest.mark.parametrize(("probes", "lease"), [({}, 30), ({"kv_lease_seconds": 60}, 60)])
def test_on_the_way_back_prefill_goes_after_a_lease_and_decode_after_prefill(stage, probes, lease):
    times = {"startup_seconds": 120, "drain_seconds": 10, "pre_stop_seconds": 1}
    rollout = stage.propose(stage.release("b", **GROUP, probes=times | probes))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.ANALYZING})
    stage.act(abort_rollout, rollout.pk, why="enough")
    seen, new = [], rollout.to_release.fingerprint
    while not stage_is_over(rollout):
        stage.step(rollout, 2)
        left = rollout.new_left_at
        pods = [p["metadata"]["labels"] for p in stage.fake.pods.values()]
        drains = any(p[RELEASE] == new and p[ROLE] == "prefill" for p in pods)
        waited = (stage.fake.now - left).total_seconds() if left else 0
        seen.append((waited, *numbers(stage).get(new, (0, 0)), drains))
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    first = next(s for s in seen if not s[1])
    assert lease <= first[0] < lease + 10, seen
    assert first[2] == 2, "decode goes on while prefill drains"
    assert all(decode == 2 for _, _, decode, drains in seen if drains)


def test_a_role_that_somebody_deletes_during_a_rollout_is_made_again(stage):
    rollout = stage.propose(stage.release("b", **GROUP))
    stage.approve(rollout)
    while rollout.phase != Phase.ANALYZING:
        stage.step(rollout)
    name, found = deployment(stage, rollout.to_release, "decode")
    stage.fake.delete("Deployment", name, found["metadata"]["uid"])
    stage.step(rollout)
    assert "Somebody deleted r2 in the cluster" in rollout.why
    assert name in stage.fake.deployments
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why


def test_an_abort_takes_all_of_it_away(stage):
    old = stage.service.current_release
    rollout = stage.propose(stage.release("b", **GROUP))
    stage.approve(rollout)
    while rollout.phase != Phase.ANALYZING:
        stage.step(rollout)
    rollout.wish = "abort"
    rollout.save(update_fields=["wish"])
    run(stage, rollout)
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    assert numbers(stage) == {old.fingerprint: (2, 4)}


def test_between_rollouts_the_ratio_is_kept(stage):
    row = Deployment.objects.get()
    stage.observe()
    assert due_deployments() == []
    name = next(n for n in stage.fake.deployments if n.endswith("decode"))
    stage.fake.delete("Deployment", name, stage.fake.deployments[name]["metadata"]["uid"])
    stage.fake.tick()
    stage.observe()
    assert due_deployments() == [row.pk]
    keep(row.pk, stage.outside)
    assert numbers(stage) == {row.release.fingerprint: (2, 4)}
    assert not Drift.objects.exists()


def test_the_fence_around_the_blocks_goes_with_its_release():
    made = {"metadata": {"name": "f"}, "kind": "NetworkPolicy"}
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "uid": "u"}}
    (reference,) = place.owned(made, owner)["metadata"]["ownerReferences"]
    assert reference == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u"}


def test_a_refusal_names_the_role(stage):
    roles = [{"name": "prefill", "replicas": 1}, {"name": "decode", "replicas": 1}]
    with pytest.raises(Invalid) as refused:
        stage.release("e", arguments=[], roles=roles)
    assert "no KV connector" in refused.value.fields["roles"]
    with pytest.raises(Invalid) as refused:
        stage.release("e", roles=[{"name": "decode", "replicas": 1, "resources": {"tpus": 1}}])
    assert "decode: There is no tpus in resources" in refused.value.fields["roles"]
