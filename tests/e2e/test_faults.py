"""Each process of the product is killed with -9 while tenants work. Nothing is lost or doubled."""

import os
import signal
import time
from collections import Counter

import httpx
import psycopg
import pytest

from tests.e2e.walk import Walk
from tests.fixtures.stack import Stack, Stacks, until

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(600, func_only=True)]
QUIET_SECONDS = 3


@pytest.fixture(scope="module")
def walk(stacks: Stacks):
    """A tenant whose service answers."""
    made = Walk(stacks.get("standin"))
    made.open_service()
    made.open_tenant("desk")
    for name, tag in (("first", "0.31.0"), ("second", "0.32.1")):
        made.release(name, made.stack.image("vllm-standin", tag))
    ended = made.roll_out(made.releases["first"], steps=[])
    assert ended["rollout"]["phase"] == "succeeded", ended["rollout"]["why"]
    made.new_key("desk")
    return made


def kill(stack: Stack, words: str) -> list[int]:
    """Kill all processes with these words in their command line."""
    found = [pid for pid, line in stack.processes().items() if words in line]
    assert found, f"no process is called {words}"
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return found


def settled(walk: Walk) -> list[dict]:
    """The rows once they have stood still."""
    seen: list[dict] = []
    since = time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        rows = walk.usage()
        if len(rows) != len(seen):
            seen, since = rows, time.monotonic()
        time.sleep(0.5)
    return seen


def test_it_loses_and_doubles_nothing_when_the_gateway_is_killed(walk: Walk):
    client = walk.clients[0]
    before = {row["request_id"] for row in settled(walk)}
    with client.steady(threads=6, pause=0.02) as traffic:
        for _ in range(2):
            count = len(traffic.answers)
            until("traffic", lambda seen=count: len(traffic.answers) > seen + 40, 60)
            kill(walk.stack, "-m gateway")
        count = len(traffic.answers)
        until("traffic again", lambda: len(traffic.answers) > count + 40, 60)
    answered = {answer.request_id for _, answer in traffic.answers}
    assert traffic.failures, "nobody noticed that it was killed"
    until("rows of all answers", lambda: answered <= ids(walk.usage()), 60, every=1.0)
    rows = [row for row in settled(walk) if row["request_id"] not in before]
    assert len(ids(rows)) == len(rows), "a request has two rows"
    outcomes = Counter(row["outcome"] for row in rows)
    # What was in flight has its row too: it says that its worker was lost.
    lost = [row for row in rows if row["request_id"] not in answered]
    assert {row["reason"] for row in lost} <= {"worker_lost", "client_left", ""}
    assert outcomes["served"] >= len(answered)
    assert len(rows) <= len(answered) + len(traffic.failures)


def ids(rows: list[dict]) -> set[str]:
    return {row["request_id"] for row in rows}


def kill_worker(stack: Stack) -> None:
    kill(stack, "celery -A console worker")


def end_connections(stack: Stack) -> None:
    """Of all processes, as the end of a server or of a network does."""
    ended = stack.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert ended[0][0] > 3


def test_it_goes_on_when_the_worker_is_killed_and_connections_end(walk: Walk):
    with walk.clients[0].steady() as traffic:
        rollout = walk.propose(walk.releases["second"], steps=[])
        walk.approve(rollout)
        path = f"rollouts/{rollout['rollout']['id']}"
        for phase, harm in (("canary_starting", kill_worker), ("promoting", end_connections)):
            until(phase, lambda p=phase: walk.operator.get(path)["rollout"]["phase"] == p, 120)
            harm(walk.stack)
        ended = walk.follow(rollout)
    assert ended["rollout"]["phase"] == "succeeded", ended["rollout"]["why"]
    assert traffic.failures == []
    assert walk.clients[0].ask("whole").fingerprint == walk.releases["second"]["fingerprint"]


def test_it_observes_again_when_the_observer_is_killed(walk: Walk):
    kill(walk.stack, "manage.py observe")
    killed = walk.operator.get("clusters")[0]["observed_at"]
    until("an observation", lambda: walk.operator.get("clusters")[0]["observed_at"] > killed, 60)


def test_it_serves_again_when_valkey_is_killed(walk: Walk):
    kill(walk.stack, "valkey-server")
    answers_again(walk)


def test_it_serves_again_when_postgres_is_killed(walk: Walk):
    rows = len(settled(walk))
    (main,) = walk.stack.sql("SELECT pg_postmaster_start_time()")[0]
    pid = int((walk.stack.data / "stores/pg/postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    assert {console_says(walk) for _ in range(10)} <= {200, 503}
    # The gateway knows keys and routes by heart, and keeps what it owes.
    sent = sum(answers(walk) for _ in range(5))
    assert sent
    until("PostgreSQL", lambda: (started(walk) or main) > main, 60, every=1.0)
    answers_again(walk)
    until("the rows", lambda: len(walk.usage()) >= rows + sent + 1, 60, every=1.0)


def console_says(walk: Walk) -> int:
    time.sleep(0.1)
    return walk.operator.http.get("/api/v1/tenants").status_code


def started(walk: Walk):
    try:
        return walk.stack.sql("SELECT pg_postmaster_start_time()")[0][0]
    except psycopg.Error:
        return None


def answers(walk: Walk) -> bool:
    try:
        return bool(walk.clients[0].ask("whole", tokens=2))
    except Exception:  # noqa: BLE001  # whatever a client meets while a store is away
        return False


def answers_again(walk: Walk) -> None:
    """Requests are served, and the console says the same."""
    until("an answer", lambda: answers(walk), 60)

    def console() -> bool:
        try:
            return walk.operator.http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    until("the console", console, 60)


def test_it_leaves_no_orphan_when_the_supervisor_is_killed(walk: Walk):
    """And another start goes on with the data."""
    answers_again(walk)
    rows = len(settled(walk))
    os.kill(walk.stack.ready["pid"], signal.SIGKILL)
    until("the end of all", lambda: not walk.stack.processes(), 40, every=0.5)
    walk.stack.start()
    walk.stack.wait_ready(240)
    walk.operator = walk.stack.person("operator")
    answers_again(walk)
    until("the rows", lambda: len(walk.usage()) > rows, 60, every=1.0)
