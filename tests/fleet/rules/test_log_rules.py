"""Which logs are kept, how much of them, and that secrets are not."""

from datetime import UTC, datetime

import pytest

from fleet.rules.logs import BYTES, LINES, PER_ROLLOUT, kept_text, logs_wanted, masked
from fleet.rules.seen import Pod, Side

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def pod(uid="u1", **fields):
    return Pod(**{"uid": uid, "name": uid, "created_at": NOW, "node": "gpu-1"} | fields)


def asked(*pods, known=None, leaving=False):
    found = logs_wanted(Side(pods=pods), known or {}, leaving=leaving)
    return [(w.pod.uid, w.previous) for w in found]


def test_both_runs_of_what_failed_and_nothing_of_what_loads():
    assert asked(pod()) == []
    assert asked(pod(exit_code=1)) == [("u1", False)]
    assert asked(pod(waiting="CrashLoopBackOff", restarts=2)) == [("u1", True), ("u1", False)]
    assert asked(pod(node="", waiting="CrashLoopBackOff")) == []


def test_again_only_after_another_restart():
    crashed = pod(exit_code=1, restarts=2)
    assert asked(crashed, known={"u1": 2}) == []
    assert asked(crashed, known={"u1": 1})
    assert asked(crashed, known={"u1": 2}, leaving=True)


def test_what_runs_and_is_not_ready_when_the_way_back_begins():
    assert asked(pod(), pod("u2", loaded=True), leaving=True) == [("u1", False)]


def test_a_bound_for_a_pass_and_for_a_rollout():
    many = [pod(f"u{i}", exit_code=1) for i in range(20)]
    assert len(asked(*many)) == 2
    full = {f"old{i}": 0 for i in range(PER_ROLLOUT)}
    assert asked(*many, known=full) == []


SECRETS = {
    "HF_TOKEN=hf_abcdefghijklmnop": "HF_TOKEN=[masked]",
    "Authorization: Bearer abc.def-123": "Authorization: Bearer [masked]",
    "'api_key': 'abcdef123456'": "'api_key': '[masked]'",
    "postgres://user:pass@host/db": "postgres://[masked]@host/db",
    "password=hunter22": "password=[masked]",
}


@pytest.mark.parametrize("line", SECRETS)
def test_secrets_are_masked(line):
    assert masked(line) == SECRETS[line]


@pytest.mark.parametrize(
    "line",
    ["prompt_tokens=4096 tokens: 12", "max_num_batched_tokens=8192", "INFO 12 token/s", "k=v"],
)
def test_numbers_of_tokens_are_no_secrets(line):
    assert masked(line) == line


def test_the_end_is_kept_within_the_bound():
    text = kept_text("\n".join(f"line {i}" for i in range(2 * LINES)))
    assert text.splitlines()[-1] == f"line {2 * LINES - 1}"
    assert len(text.splitlines()) == LINES
    assert len(kept_text("ä" * BYTES).encode()) <= BYTES
    assert kept_text("a\x00b") == "ab"
