"""The way back without Redis, web tier and workers, and without the console at all."""

import json
import os
import shlex
import subprocess
import time
from io import StringIO

import pytest
from django.core.management import call_command

from fleet.drive.rollout import drive
from fleet.models import Deployment, Rollout
from fleet.rules.phases import Phase
from sandbox.controlplane import build
from tests.cluster.rollout_stage import make_real_stage

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600, func_only=True),  # the cluster's start is not counted
]


@pytest.fixture
def stage(cluster):
    """One release serves with two replicas on a node of four GPUs."""
    found = make_real_stage(cluster, "chat")
    first = found.roll_out(found.release(), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    found.service.refresh_from_db()
    yield found
    found.clear()


def rescue(**options):
    out = StringIO()
    call_command("rollout", "rescue", "chat", stdout=out, **options)
    return out.getvalue()


def test_it_is_rescued_without_redis_open_or_finished(stage, settings):
    good = stage.service.current_release.fingerprint
    rollout = stage.propose(stage.release("standin-0.32.1"), steps=(), soak_seconds=60)
    stage.approve(rollout)
    stage.run(rollout, until={Phase.SOAKING}, seconds=300)
    reachable, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1"
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1"
    began = time.monotonic()
    told = rescue(why="answers got worse", **{"as": "olga@example.com"})
    rollout.refresh_from_db()
    assert rollout.phase == Phase.ROLLED_BACK, told
    assert stage.fingerprints() == [good] * 2
    print(f"open rollout rescued in {time.monotonic() - began:.1f} s")
    settings.REDIS_URL = reachable
    done = stage.roll_out(stage.release("standin-0.32.1"), steps=())
    assert done.phase == Phase.SUCCEEDED
    settings.REDIS_URL = "redis://127.0.0.1:1"
    began = time.monotonic()
    told = rescue(why="answers got worse", **{"as": "olga@example.com"})
    assert Rollout.objects.get(is_rollback=True).phase == Phase.SUCCEEDED, told
    assert stage.fingerprints() == [good] * 2
    print(f"finished rollout rescued in {time.monotonic() - began:.1f} s")


def test_the_printed_lines_bring_the_old_release_back(stage):
    good = stage.service.current_release.fingerprint
    rollout = stage.propose(stage.release("standin-0.32.1"), steps=(), soak_seconds=60)
    stage.approve(rollout)
    stage.run(rollout, until={Phase.SOAKING}, seconds=300)
    # Nothing of the old release is left: its replicas come first, the new ones answer meanwhile.
    old = Deployment.objects.get(release=rollout.from_release)
    drive(rollout.pk)
    lines = rescue(print=True)
    began = time.monotonic()
    by_hand(stage.cluster, lines)
    print(f"back by hand in {time.monotonic() - began:.1f} s, {old.replicas} kept at its start")
    assert stage.fingerprints() == [good] * 2
    # What was applied by hand is what the console would have applied: no conflict, and it ends.
    rescue(why="as done by hand", **{"as": "olga@example.com"})
    rollout.refresh_from_db()
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    assert stage.fingerprints() == [good] * 2


def by_hand(cluster, lines):
    """In a shell that has kubectl and nothing of the console."""
    binaries = build.ensure()
    kubeconfig = cluster.sandbox.cluster.kubeconfig("admin")
    environment = {"PATH": f"{binaries}:{os.environ['PATH']}", "KUBECONFIG": str(kubeconfig)}
    environment["KUBECACHEDIR"] = str(kubeconfig.parent / "kubectl")
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        env=environment, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, json.dumps([shlex.quote(lines), ran.stdout, ran.stderr])
