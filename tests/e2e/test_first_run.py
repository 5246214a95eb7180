"""The first run of a stranger: `make up`, wait, ask the demo's models, look at what was counted."""

import time

import httpx
import openai
import psycopg
import pytest

from sandbox.process import wait_until
from tests.fixtures.installation import COLD_SECONDS, Installation
from tests.fixtures.stack import Stacks

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(1500)]
TENANTS = ("acme", "globex", "initech")


@pytest.fixture(scope="module")
def up(stacks: Stacks):
    """Silent afterwards: what else is tested on it wants the machine for itself."""
    installation = stacks.fresh()
    yield installation
    installation.make("traffic-off")


def rows(up: Installation, query: str) -> list[tuple]:
    sockets = up.data / "stores" / "run"
    with psycopg.connect(f"postgresql://postgres@/console?host={sockets}") as database:
        return database.execute(query.encode()).fetchall()


def ask(up: Installation, tenant: str, model: str, stream: bool) -> int:
    """Ask a model with a tenant's key; return the completion tokens that the answer tells."""
    state = up.state()
    client = openai.OpenAI(
        base_url=f"{state['gateway_url']}/v1", api_key=state["api_keys"][tenant], max_retries=0
    )
    messages = [{"role": "user", "content": "Where is the spare valve?"}]
    common = {"model": model, "messages": messages, "max_tokens": 12}
    if not stream:
        return client.chat.completions.create(**common).usage.completion_tokens
    options = {"include_usage": True}
    *_, last = client.chat.completions.create(**common, stream=True, stream_options=options)
    return last.usage.completion_tokens


def test_it_answered_in_time(up):
    assert up.cold_seconds < COLD_SECONDS


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["chat-small", "chat-large"])
@pytest.mark.parametrize("tenant", TENANTS)
def test_it_answers_every_tenant_at_once(up, tenant, model, stream):
    assert 0 < ask(up, tenant, model, stream) <= 12


def test_it_turns_a_stranger_away(up):
    answer = httpx.get(
        f"{up.state()['gateway_url']}/v1/models", headers={"Authorization": "Bearer qmk_nobody"}
    )
    assert answer.status_code == 401


def test_it_counts_each_request_once(up):
    up.make("traffic-off")
    time.sleep(2)  # what was under way comes to its end
    quiet = settled(up)
    for _ in range(5):
        ask(up, "acme", "chat-small", stream=True)
    wait_until("the usage rows", lambda: live_rows(up) >= quiet + 5, 20)
    assert settled(up) == quiet + 5
    up.make("traffic-on")
    wait_until("traffic again", lambda: live_rows(up) > quiet + 5, 30)


def live_rows(up: Installation) -> int:
    return int(rows(up, "SELECT count(*) FROM usage_event WHERE worker <> 'history'")[0][0])


def settled(up: Installation) -> int:
    """The number of rows once it has stood still for three seconds."""
    seen, since = live_rows(up), time.monotonic()
    while time.monotonic() - since < 3:
        now = live_rows(up)
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.3)
    return seen


def test_it_has_sixty_days_of_history_marked_as_demo(up):
    query = "SELECT count(DISTINCT event_time::date), count(*) FROM usage_event WHERE demo"
    days, events = rows(up, query)[0]
    assert days >= 59
    assert events > 30_000
    assert rows(up, "SELECT count(*) FROM usage_quarantine")[0][0] == 0


def test_it_has_charged_the_history(up):
    def unrated() -> int:
        return rows(up, "SELECT count(*) FROM usage_hour_head WHERE rated_version <> version")[0][0]

    wait_until("the rating", lambda: unrated() <= 12, 120)  # live hours go on changing
    assert rows(up, "SELECT count(*) FROM usage_hour_head WHERE amount > 0")[0][0] > 1_000
