"""Output contracts: versions are kept by operators, tried on what serves, and never changed."""

import asyncio
import json
import threading

import pytest
from django.db import DatabaseError, transaction

from fleet.actions import contracts as actions
from fleet.clients.contract import LARGEST, put
from fleet.models import EngineProbe, ObservedPod, OutputContract
from fleet.queries.contracts import current_contract, get_contract
from fleet.rules.contract.answers import Said, judge
from fleet.rules.contract.prompts import read_contract
from sandbox.engines.standin.options import parse_args
from sandbox.engines.standin.server import StandIn
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Forbidden, Invalid, NotFound, Stale
from tenants.models import AuditEvent
from tests.fleet.makers import (
    make_cluster,
    make_deployment,
    make_pod_row,
    make_release,
    make_service,
)

pytestmark = pytest.mark.django_db
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
LONG = {"name": "too long", "kind": "too_long"}
ALL = [
    {"name": "talks", "kind": "text", "prompt": "hi", "contains": ["tok0"], "longest": 500},
    {"name": "as JSON", "kind": "json", "prompt": "Capital?", "schema": CITY},
    {"name": "stops", "kind": "stop", "prompt": "Count", "stop": [" tok3"]},
    {
        "name": "calls",
        "kind": "tool_call",
        "prompt": "Weather?",
        "tool": {"name": "weather", "parameters": CITY},
    },
    LONG,
]


@pytest.fixture
def service():
    service, cluster = make_service(), make_cluster()
    release = make_release(service)
    service.current_release = release
    service.save()
    make_pod_row(make_deployment(service, release, cluster))
    return service


def keep(person, service, version=0, prompts=ALL, why="clients rely on it"):
    with person.scope():
        return actions.keep_contract(person.viewer, service.pk, version, prompts=prompts, why=why)


def test_it_keeps_versions_and_says_who_and_why(service, olga):
    assert (keep(olga, service).version, keep(olga, service, 1, [LONG]).version) == (1, 2)
    with olga.scope():
        found = get_contract(olga.viewer, service.pk)
    assert (found.version, list(found.prompts)) == (2, [LONG])
    told = [(v.version, v.prompts, v.by, v.why) for v in found.versions]
    assert told == [
        (2, 1, "olga@example.com", "clients rely on it"),
        (1, 5, "olga@example.com", "clients rely on it"),
    ]
    with fleet_scope():
        event = AuditEvent.objects.filter(verb="contract.keep").latest("id")
    assert event.after == {"too long": "too_long"}
    assert event.before["calls"] == "tool_call"
    assert event.why == "clients rely on it"


def test_an_empty_set_lifts_the_contract(service, olga):
    keep(olga, service)
    assert current_contract(service.pk).version == 1
    keep(olga, service, 1, [])
    assert current_contract(service.pk) is None


REFUSED = {
    "a bad set": ({"prompts": [{"name": "x"}]}, Invalid, "its kind is one of"),
    "no reason": ({"why": " "}, Invalid, "Say why"),
    "a version that was replaced": ({"version": 0}, Stale, "Version 1 was kept meanwhile"),
    "the same again": ({}, Conflict, "These are the prompts of version 1 already"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_to_keep(case, service, olga):
    keep(olga, service)
    changed, refusal, words = REFUSED[case]
    with pytest.raises(refusal, match=words):
        keep(olga, service, **({"version": 1} | changed))
    assert OutputContract.objects.count() == 1


def test_it_refuses_an_unknown_service_and_strangers(service, olga, vic, mallory):
    with pytest.raises(NotFound), olga.scope():
        actions.keep_contract(olga.viewer, 10**6, 0, prompts=ALL, why="x")
    for person in (vic, mallory):
        with pytest.raises((Forbidden, NotFound)):
            keep(person, service)
        with pytest.raises((Forbidden, NotFound)):
            actions.try_contract(person.viewer, service.pk, ALL, never)
    with pytest.raises(NotFound), mallory.scope():
        get_contract(mallory.viewer, service.pk)


def never(*_):
    raise AssertionError("nobody may be asked")


def test_a_version_is_never_changed(service, olga):
    keep(olga, service)
    for act in (lambda rows: rows.update(prompts=[]), lambda rows: rows.delete()):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            act(OutputContract.objects.all())


def test_it_tries_prompts_on_what_serves_and_keeps_nothing(service, olga):
    asked = []

    def ask(address, name, prompt):
        asked.append((address, name))
        usage = {"prompt_tokens": 9, "completion_tokens": 4}
        return Said(200, {"choices": [{"message": {"content": "no"}}], "usage": usage}, 3.0)

    tried = actions.try_contract(olga.viewer, service.pk, ALL[:2], ask)
    assert (tried.release, tried.pod, tried.kept) == ("r1", "chat-1", False)
    assert [a.verdict for a in tried.answers] == ["fail", "fail"]
    assert asked == [("10.0.0.1:8000", "chat")] * 2
    assert not OutputContract.objects.exists()
    assert sum(p.prompt_tokens for p in EngineProbe.objects.all()) == 18


def test_it_says_that_nothing_serves(service, olga):
    ObservedPod.objects.update(ready=False)
    with pytest.raises(Conflict, match="No replica of the current release takes traffic"):
        actions.try_contract(olga.viewer, service.pk, ALL, never)
    with pytest.raises(NotFound):
        actions.try_contract(olga.viewer, 10**6, ALL, never)
    with pytest.raises(Invalid, match="no prompt in the list"):
        actions.try_contract(olga.viewer, service.pk, [], never)


@pytest.fixture
def engine():
    """A stand-in on loopback in a thread; answers its address and takes flags."""
    stops = []

    def start(*flags):
        ready, found = threading.Event(), {}

        async def serve():
            flagged = ["tiny", "--served-model-name", "chat", "--admin-port", "0", *flags]
            standin = StandIn(parse_args(flagged))
            found["port"] = await standin.server.start("127.0.0.1", 0)
            loop = asyncio.get_running_loop()
            stops.append(lambda: loop.call_soon_threadsafe(standin.stopped.set))
            ready.set()
            await standin.stopped.wait()
            standin.server.stop_listening()

        threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
        assert ready.wait(30)
        return f"127.0.0.1:{found['port']}"

    yield start
    for stop in stops:
        stop()


def verdicts(address, prompts=ALL, seconds=15.0):
    found = [judge(p, put(address, "chat", p, seconds)) for p in read_contract(prompts)]
    return {s.name: (s.verdict, s.why) for s in found}


def test_it_asks_an_engine_over_http(engine):
    found = verdicts(engine("--max-model-len", "512"))
    assert {name: verdict for name, (verdict, _) in found.items()} == dict.fromkeys(
        ("talks", "as JSON", "stops", "calls", "too long"), "pass"
    ), found


def test_it_sees_what_a_loose_engine_breaks(engine):
    found = verdicts(engine("--max-model-len", "512", "--loose"))
    assert {name for name, (verdict, _) in found.items() if verdict == "fail"} == {
        "as JSON",
        "stops",
        "calls",
        "too long",
    }
    assert found["too long"][1] == "expected a refusal with 400, got 200"


def test_no_engine_and_a_silent_one_are_trouble(engine):
    assert verdicts("127.0.0.1:1")["talks"][0] == "error"
    assert verdicts("nowhere.invalid:80", [LONG])["too long"][0] == "error"
    silent = engine("--ttft-ms", "60000")
    assert verdicts(silent, ALL[:1], 0.3)["talks"] == ("error", "no answer within 0.3 s")


class Flood:
    """An HTTP server whose answers never end."""

    def __init__(self):
        self.served = 0

    async def __call__(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while not writer.is_closing():
            self.served += 65536
            writer.write(b"x" * 65536)
            await writer.drain()


def test_it_reads_no_more_than_it_needs():
    ready, found, flood = threading.Event(), {}, Flood()

    async def serve():
        server = await asyncio.start_server(flood, "127.0.0.1", 0)
        found["port"] = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    assert ready.wait(30)
    said = put(f"127.0.0.1:{found['port']}", "chat", read_contract(ALL[:1])[0])
    assert said.trouble == "an answer of more than 256 KiB"
    assert flood.served < 100 * LARGEST


def api(person, method, service, body=None, path="", **headers):
    sent = {"data": json.dumps(body), "content_type": "application/json"} if body else {}
    address = f"/api/v1/services/{service.pk}/contract{path}"
    return getattr(person.client, method)(address, headers=headers, **sent)


@pytest.mark.django_db(transaction=True)
def test_the_api_keeps_shows_and_tries(service, olga, vic, mallory, client):
    first = api(olga, "get", service)
    assert (first.json()["version"], first.json()["prompts"]) == (0, [])
    body = {"prompts": ALL, "why": "clients rely on it"}
    assert api(olga, "put", service, body).status_code == 428
    kept = api(olga, "put", service, body, **{"If-Match": first.headers["ETag"]})
    assert (kept.status_code, kept.json()["version"]) == (200, 1)
    assert kept.json()["versions"][0]["by"] == "olga@example.com"
    stale = api(olga, "put", service, body, **{"If-Match": first.headers["ETag"]})
    assert stale.status_code == 412
    bad = api(olga, "post", service, {"prompts": [{"name": "a", "kind": "poem"}]}, "/try")
    assert bad.status_code == 422
    assert "its kind is one of" in bad.content.decode()
    ObservedPod.objects.update(ready=False)
    assert api(olga, "post", service, {"prompts": ALL}, "/try").status_code == 409
    for person, status in ((vic, 403), (mallory, 404)):
        assert api(person, "post", service, {"prompts": ALL}, "/try").status_code == status
    assert client.post(f"/api/v1/services/{service.pk}/contract/try").status_code == 401


def test_the_api_shows_each_answer(service, olga, engine):
    address = engine("--max-model-len", "512", "--loose")
    ObservedPod.objects.update(address=address)
    tried = api(olga, "post", service, {"prompts": ALL}, "/try").json()
    assert (tried["release"], tried["kept"]) == ("r1", False)
    assert tried["answers"][0]["verdict"] == "pass"
    assert tried["answers"][1]["shown"].startswith(" tok0 tok1")
