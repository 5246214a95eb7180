"""The stand-in answers as a real vLLM 0.32 does."""

import pytest

from tests.engine.contract import CASES, Case, answer_shape, ask, first_difference, metric_series

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120, func_only=True)]


def name(case: Case) -> str:
    method, path, body = case
    return f"{method} {path} {str(body)[-50:] if body else ''}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_it_answers_like_a_real_vllm(case: Case, real_engine: int, double_engine: int):
    real, double = (answer_shape(*ask(port, case)) for port in (real_engine, double_engine))
    assert first_difference(real, double) is None


def test_it_has_the_metrics_of_a_real_vllm(real_engine: int, double_engine: int):
    for port in (real_engine, double_engine):
        for case in CASES:
            ask(port, case)
    page = ("GET", "/metrics", None)
    real, double = (metric_series(ask(p, page)[2]) for p in (real_engine, double_engine))
    assert real - double == set()
    assert double - real == set()
