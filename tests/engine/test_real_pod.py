"""A real vLLM in a pod: from its image to a drained stream."""

import pytest

from sandbox.engines import vllm_env
from tests.fixtures.cluster import RunningCluster
from tests.fixtures.kubernetes import (
    DEPLOYMENTS,
    apply,
    complete,
    deployment,
    image,
    pods,
    start_stream,
    until,
)

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.engine,
    pytest.mark.timeout(300, func_only=True),
]


def test_it_serves_in_a_pod_and_drains_whole(vllm: vllm_env.Installed, cluster: RunningCluster):
    cluster.sandbox.write_images()  # the environment may be newer than the cluster
    args = ("--max-model-len=2048", "--max-num-seqs=4", "--shutdown-timeout=60")
    body = deployment(
        "real", reference=image("vllm-cpu"), args=args, grace=75, startup_failures=280
    )
    apply(cluster.console, body)
    ip = cluster.ready("real", 1, 280)[0]["status"]["podIP"]
    code, answer = complete(ip, 8, 60)
    assert (code, answer["system_fingerprint"]) == (200, "real")
    assert answer["usage"]["completion_tokens"] == 8
    stream = start_stream(ip, tokens=800, chunks=5)
    cluster.console.delete(f"{DEPLOYMENTS}/real")
    stream.join(90)
    assert (stream.reason, stream.done) == ("length", True)
    until("end of the pod", lambda: not pods(cluster.console, "real"), 90)
