"""Hand edits with the real kubectl on the real API server: seen, named, repaired, adopted; one
becomes the release that serves.
"""

import os
import subprocess
import time

import pytest
from django.utils import timezone

from fleet.actions import drift as actions
from fleet.actions.adoption import adopt_content
from fleet.actions.observation import EVERY
from fleet.drive.keep import keep
from fleet.models import Deployment, Drift
from fleet.queries.drift import list_drift
from fleet.rules.phases import Phase
from sandbox.controlplane import build
from tenants.base.scope import scope_of
from tests.cluster.rollout_stage import make_real_stage
from tests.fixtures.kubernetes import DEPLOYMENTS, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600, func_only=True),  # the cluster's start is not counted
]


@pytest.fixture
def stage(cluster):
    found = make_real_stage(cluster, "chat", replicas=1)
    first = found.roll_out(found.release(), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    found.service.refresh_from_db()
    yield found
    found.clear()


def kubectl(stage, *words):
    kubeconfig = stage.cluster.sandbox.cluster.kubeconfig("admin")
    environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig)}
    environment["KUBECACHEDIR"] = str(kubeconfig.parent / "kubectl")
    command = [str(build.ensure() / "kubectl"), "-n", "models", *words]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)


def seen(stage):
    stage.observe()
    with scope_of(stage.olga):
        return list_drift(stage.olga)


def live(stage, row):
    return stage.cluster.console.get(f"{DEPLOYMENTS}/{row.name}")


def serves(stage, row):
    """Keep works as worker and beat do, until all declared replicas answer."""

    def enough():
        stage.observe()
        keep(row.pk)
        return len(stage.fingerprints()) == row.replicas

    until("replicas", enough, 60)


def test_what_people_do_with_kubectl_is_seen_and_repaired_or_adopted(stage):
    row = Deployment.objects.get(replicas__gt=0)
    assert seen(stage) == ()

    edit = '[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--seed=1"}]'
    kubectl(stage, "patch", "deployment", row.name, "--type=json", f"-p={edit}")
    kubectl(stage, "set", "env", f"deployment/{row.name}", "SPY=1")
    began = time.monotonic()
    found = {d.path: d for d in seen(stage)}
    # The observer's look before this one ended so long ago at most.
    assert EVERY.total_seconds() + time.monotonic() - began < 15
    args = found.pop("spec.template.spec.containers[vllm].args")
    env = found.pop("spec.template.spec.containers[vllm].env[SPY]")
    assert found == {}
    assert (args.manager, args.operation) == ("kubectl-patch", "Update")
    assert (env.manager, env.live) == ("kubectl-set", {"name": "SPY", "value": "1"})
    assert abs((timezone.now() - args.written_at).total_seconds()) < 60
    stage.act(actions.repair, row.pk, why="nobody approved that")
    keep(row.pk)
    assert seen(stage) == ()
    container = live(stage, row)["spec"]["template"]["spec"]["containers"][0]
    assert "--seed=1" not in container["args"]
    assert "SPY" not in [e["name"] for e in container["env"]]
    serves(stage, row)

    kubectl(stage, "scale", "deployment", row.name, "--replicas=2")
    (scaled,) = seen(stage)
    assert (scaled.path, scaled.live, scaled.owned) == ("spec.replicas", 2, False)
    assert scaled.manager == "kubectl"
    keep(row.pk)
    assert live(stage, row)["spec"]["replicas"] == 2  # a person has to choose
    stage.act(actions.adopt, row.pk, replicas=2, why="more traffic than thought")
    keep(row.pk)
    assert seen(stage) == ()
    row.refresh_from_db()
    assert row.replicas == 2
    serves(stage, row)
    owners = {
        m["manager"]
        for m in live(stage, row)["metadata"]["managedFields"]
        if "f:replicas" in m["fieldsV1"].get("f:spec", {})
    }
    assert owners == {"quartermaster-rollout"}  # the next rollout meets no other owner

    kubectl(stage, "delete", "deployment", row.name, "--wait=true")
    (gone,) = seen(stage)
    assert "somebody deleted it" in gone.sentence
    serves(stage, row)
    assert seen(stage) == ()
    assert Drift.objects.filter(ended_at=None).count() == 0

    kubectl(stage, "patch", "deployment", row.name, "--type=json", f"-p={edit}")
    (args,) = seen(stage)
    serves(stage, row)
    pods = {p["metadata"]["uid"] for p in stage.pods()}
    release = stage.act(adopt_content, row.pk, edit=args.edit, why="it answers better")
    assert release.arguments == ["--seed=1"]
    rollout = stage.propose(release, steps=())
    stage.approve(rollout)
    stage.run(rollout, until={Phase.PROMOTING, Phase.SOAKING, Phase.SUCCEEDED})
    # Scaled by us, with a field that is kubectl's: no conflict, and what is left never restarted.
    assert {p["metadata"]["uid"] for p in stage.pods(row.release.fingerprint)} <= pods
    assert stage.run(rollout).phase == Phase.SUCCEEDED, rollout.why
    stage.service.refresh_from_db()
    assert stage.service.current_release == release
    assert set(stage.fingerprints()) == {release.fingerprint}
    assert seen(stage) == ()
