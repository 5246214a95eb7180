"""A real vLLM in a pod: the stand-in answers as it does, and a drained pod ends its stream whole.

One start of the real engine, which takes a minute, serves the whole file; its last test ends it.
"""

import pytest

from tests.engine.contract import (
    CASES,
    Address,
    Case,
    answer_shape,
    ask,
    first_difference,
    metric_series,
)
from tests.fixtures.cluster import RunningCluster
from tests.fixtures.kubernetes import DEPLOYMENTS, complete, pods, start_stream, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.engine,
    pytest.mark.timeout(300, func_only=True),
]


def name(case: Case) -> str:
    method, path, body = case
    return f"{method} {path} {str(body)[-50:] if body else ''}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_it_answers_like_a_real_vllm(case: Case, real_engine: Address, double_engine: Address):
    real, double = (answer_shape(*ask(at, case)) for at in (real_engine, double_engine))
    assert first_difference(real, double) is None


def test_it_has_the_metrics_of_a_real_vllm(real_engine: Address, double_engine: Address):
    for at in (real_engine, double_engine):
        for case in CASES:
            ask(at, case)
    page = ("GET", "/metrics", None)
    real, double = (metric_series(ask(at, page)[2]) for at in (real_engine, double_engine))
    assert real - double == set()
    assert double - real == set()


def test_a_pod_of_it_drains_whole(real_engine: Address, cluster: RunningCluster):
    ip, _ = real_engine
    code, answer = complete(ip, 8, 60)
    assert (code, answer["system_fingerprint"]) == (200, "real")
    assert answer["usage"]["completion_tokens"] == 8
    stream = start_stream(ip, tokens=800, chunks=5)
    cluster.console.delete(f"{DEPLOYMENTS}/real")
    stream.join(90)
    assert (stream.reason, stream.done) == ("length", True)
    until("end of the pod", lambda: not pods(cluster.console, "real"), 90)
