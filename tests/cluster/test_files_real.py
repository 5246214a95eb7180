"""A release's files on the real API server: made first, changed by nobody, gone with it."""

import pytest

from fleet.clients.errors import Permanent
from fleet.drive.outside import REAL
from fleet.drive.place import put, remove, try_out
from fleet.queries.releases import spec_of
from fleet.rules.manifests import files_of, render, workload
from fleet.rules.seen import read_side
from sandbox.cluster.kube import ApiStatusError
from tests.cluster.rollout_stage import make_real_stage
from tests.fixtures.kubernetes import DEPLOYMENTS, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300, func_only=True),
]
CONFIGS = "/api/v1/namespaces/models/configmaps"
FILES = {"prompts": {"chat.jinja": "{{ messages }}\n"}}


def test_files_are_made_first_kept_from_changes_and_go_with_the_release(bare):
    stage = make_real_stage(bare, "chat", replicas=1)
    release = stage.release(pins={"files": FILES})
    made = workload(render(spec_of(release), "models", stage.service.max_model_len))
    (config,) = files_of(made)
    name = config["metadata"]["name"]
    workloads = REAL.connect(stage.row)  # as the account that the cluster page prints
    try_out(workloads, made, fence=1)
    with pytest.raises(ApiStatusError):
        bare.admin.get(f"{CONFIGS}/{name}")  # a dry run leaves nothing
    put(workloads, made, replicas=0, fence=1)
    found = bare.admin.get(f"{CONFIGS}/{name}")
    deployment = bare.admin.get(f"{DEPLOYMENTS}/chat-{release.digest[:8]}")
    assert (found["data"], found["immutable"]) == (FILES["prompts"], True)
    times = [o["metadata"]["creationTimestamp"] for o in (found, deployment)]
    assert times == sorted(times)
    (owner,) = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Deployment", deployment["metadata"]["uid"])
    # Once more, as every scaling does it: the same object with the same owner.
    side = read_side(workloads.look(f"quartermaster.dev/service={stage.service.name}"),
                     release.fingerprint)  # fmt: skip
    put(workloads, made, replicas=0, fence=2, side=side)
    again = bare.admin.get(f"{CONFIGS}/{name}")
    assert again["metadata"]["ownerReferences"] == [owner]
    assert again["metadata"]["uid"] == found["metadata"]["uid"]
    with pytest.raises(Permanent, match="immutable"):
        workloads.apply(config | {"data": {"chat.jinja": "another"}})
    # The account lists files to see what others changed, and takes none away.
    assert bare.console.get(CONFIGS)["items"]
    with pytest.raises(ApiStatusError):
        bare.console.delete(f"{CONFIGS}/{name}")
    remove(workloads, side)
    until("the file to be gone", lambda: is_gone(bare, name), 60)


def is_gone(cluster, name):
    try:
        cluster.admin.get(f"{CONFIGS}/{name}")
    except ApiStatusError as error:
        return error.code == 404
    return False
