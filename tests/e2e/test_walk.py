"""The whole job by the REST API, on real parts: access, releases, rollouts, traffic, money.

The tests of a walk build on each other, in the order of the file. It is walked twice: with the
stand-in engine, and with real vLLM.
"""

import csv
import hashlib
import io
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import openai
import pytest

from sandbox.engines import vllm_env
from tests.e2e.walk import PRICES, Walk, person_is_refused
from tests.fixtures.stack import Stacks, until

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(1500, func_only=True)]
ANSWERED = ("served", "rerouted", "degraded")
BILLED = (*ANSWERED, "cancelled")
MILLION = Decimal(1_000_000)


@pytest.fixture(scope="module", params=[pytest.param("vllm", marks=pytest.mark.engine), "standin"])
def walk(request: pytest.FixtureRequest, stacks: Stacks):
    if request.param == "vllm":
        try:
            vllm_env.ensure(lambda *_: None)
        except vllm_env.Impossible as why:
            pytest.skip(f"no real vLLM here: {why}. `python -m sandbox.engines.vllm_env` gets it")
    made = Walk(stacks.get(request.param))
    with made.counters.watching():
        yield made


def test_it_gives_a_tenant_access(walk: Walk):
    olga = walk.operator
    walk.open_service()
    walk.open_tenant("desk", "narrow")
    limits = {
        "requests_per_minute": 60_000,
        "tokens_per_minute": 6_000_000,
        "concurrency": 64,
        "monthly_budget": "25.00",
    }
    olga.post(f"tenants/{walk.tenant}/quotas", limits, 201)
    again = person_is_refused(olga, f"tenants/{walk.tenant}/quotas", limits, 412)
    assert again
    walk.new_key("desk")
    assert walk.keys["desk"]["secret"].startswith("qmk_")
    listed = olga.rows(f"tenants/{walk.tenant}/keys")
    assert "secret" not in str(listed)


def test_it_prices_the_service(walk: Walk):
    """A draft of the old lines and the new ones, from this hour on once somebody approved it."""
    book = walk.finance.get("price-books/list")
    current = next(v for v in book["versions"] if v["state"] == "current")
    kept = [
        {k: p[k] for k in ("model", "meter", "traffic_class")} | {"price": p["text"]}
        for p in current["prices"]
    ]
    new = [{"model": walk.model, "meter": m, "price": price} for m, price in PRICES.items()]
    path = "price-books/list"
    draft = {"prices": kept + new, "why": "a new service"}
    stale = walk.finance.etag(path)
    walk.finance.call("POST", f"{path}/versions", draft, 201, headers=stale)
    number = walk.finance.get(path)["versions"][0]["number"]
    wish = {"starts_at": walk.hour.isoformat(), "why": "it is sold from now on"}
    where = f"{path}/versions/{number}/propose"
    walk.finance.call("POST", where, wish, 412, headers=stale)
    walk.finance.call("POST", where, wish, headers=walk.finance.etag(path))
    change = walk.approver.get(f"changes/{walk.finance.get(path)['versions'][0]['change_id']}")
    given = {"digest": change["digest"], "approve": True}
    person_is_refused(walk.operator, f"changes/{change['id']}/decide", given, 403)
    walk.approver.post(f"changes/{change['id']}/decide", given)

    def holds() -> bool:
        return walk.finance.get(path)["versions"][0]["state"] == "current"

    until("the approved prices", holds, 30)


def test_it_knows_the_cluster_and_what_it_may_do_there(walk: Walk):
    found = walk.operator.get("clusters")[0]
    detail = walk.operator.get(f"clusters/{found['id']}")
    assert not found["stale"] and found["denied"] == 0 and found["nodes"] == 4
    assert all(p["allowed"] for p in detail["permissions"] if p["needed"])
    assert "kind: ClusterRole" in detail["rbac"]
    gpus = next(g for g in found["gpus"] if g["product"] == "NVIDIA-L40S")
    assert gpus["allocatable"] == 8 == gpus["used"] + gpus["free"]
    bad = {"slug": "nowhere", "kubeconfig": "apiVersion: v1\nkind: Config\n"}
    assert person_is_refused(walk.operator, "clusters", bad, 422)


def test_it_makes_releases_of_what_is_pinned_only(walk: Walk):
    tags = ("0.31.0", "0.32.1")
    images = [walk.stack.image("vllm-standin", tag) for tag in tags]
    if walk.is_real:
        images = [walk.stack.image("vllm-cpu")] * 2
    base = walk.release_fields(images[0])["arguments"]
    walk.release("first", images[0])
    walk.release("second", images[1], arguments=[*base, "--max-num-seqs=8"])
    walk.release("crash", walk.stack.image("vllm-standin-faulty-crash"))
    by_tag = walk.release_fields("registry.local/vllm-standin:0.32.1")
    assert "can point to another image" in person_is_refused(walk.operator, "releases", by_tag, 422)
    branch = walk.release_fields(images[0], model={"name": "org/model", "commit": "main"})
    assert "a branch" in person_is_refused(walk.operator, "releases", branch, 422)
    wide = walk.release_fields(images[0], arguments=[*base, "--tensor-parallel-size=3"])
    assert "2 missing" in person_is_refused(walk.operator, "releases", wide, 422)
    first, second = (walk.releases[n]["id"] for n in ("first", "second"))
    changes = walk.operator.get(f"releases/{first}/compare", to=second)["changes"]
    assert any("--max-num-seqs" in c["name"] for c in changes)


def test_it_rolls_out_what_somebody_else_approved(walk: Walk):
    release = walk.releases["first"]
    wish = {"service_id": walk.service_id, "release_id": release["id"]}
    plan = walk.operator.post("plans", wish)
    assert plan["plans"][0]["answer"] == "possible" and plan["manifests"]
    rollout = walk.propose(release, steps=[])
    approval = rollout["approval"]
    given = {"digest": approval["digest"], "approve": True}
    path = f"changes/{approval['change_id']}/decide"
    person_is_refused(walk.operator, path, given, 403)
    person_is_refused(walk.approver, path, given | {"digest": "0" * 64}, 412)
    walk.approve(rollout)
    ended = walk.follow(rollout)
    assert ended["rollout"]["phase"] == "succeeded", ended["rollout"]["why"]
    assert ended["new"]["serving"] == walk.replicas


def test_it_answers_the_openai_client(walk: Walk):
    client = walk.clients[0]
    assert [m.id for m in client.client.models.list()] == [walk.model]
    for kind in ("stream", "whole", "text"):
        answer = client.ask(kind)
        assert answer.fingerprint == walk.releases["first"]["fingerprint"]
        assert 0 < answer.completion_tokens <= 12 and answer.prompt_tokens > 0


def test_it_moves_to_a_new_release_without_a_failed_request(walk: Walk):
    new = walk.releases["second"]
    walk.slow_down(walk.releases["first"]["fingerprint"], ttft_ms=120)
    with walk.clients[0].steady() as traffic:
        ended = walk.roll_out(new, steps=walk.steps())
        assert ended["rollout"]["phase"] == "succeeded", ended["rollout"]["why"]
        seen = len(traffic.answers)
        until("traffic afterwards", lambda: len(traffic.answers) > seen + 10, 60)
    assert traffic.failures == []
    assert traffic.fingerprints(last=8) == {new["fingerprint"]}
    assert [m["why"] for m in ended["timeline"] if m["phase"] == "promoting"]


def test_it_goes_back_from_a_crashing_release_and_says_why(walk: Walk):
    good = walk.releases["second"]["fingerprint"]
    with walk.clients[0].steady() as traffic:
        ended = walk.roll_out(walk.releases["crash"], steps=walk.steps(), patience_seconds=10)
        until("traffic afterwards", lambda: len(traffic.answers) > 5, 60)
    assert (ended["rollout"]["phase"], ended["rollout"]["cause"]) == ("rolled_back", "crash_loop")
    assert "exit" in ended["rollout"]["why"].lower() or "1" in ended["rollout"]["why"]
    assert traffic.failures == []
    assert {answer.fingerprint for _, answer in traffic.answers} == {good}


def test_it_rolls_back_by_hand(walk: Walk):
    last = next(
        r
        for r in walk.operator.get("rollouts", service_id=walk.service_id)
        if r["phase"] == "succeeded"
    )
    assert last["to_id"] == walk.releases["second"]["id"]
    with walk.clients[0].steady() as traffic:
        back = walk.operator.post(f"rollouts/{last['id']}/roll-back", {"why": "the old was better"})
        assert back["approval"] is None
        ended = walk.follow(back)
        seen = len(traffic.answers)
        until("traffic afterwards", lambda: len(traffic.answers) > seen + 6, 60)
    assert ended["rollout"]["phase"] == "succeeded", ended["rollout"]["why"]
    assert traffic.failures == []
    assert traffic.fingerprints(last=4) == {walk.releases["first"]["fingerprint"]}


def test_it_refuses_by_quota_and_says_the_numbers(walk: Walk):
    narrow = walk.new_key("narrow", "narrow")
    limits = {"application": "narrow", "requests_per_minute": 4}
    made = walk.operator.post(f"tenants/{walk.tenant}/quotas", limits, 201)
    refused: list[openai.RateLimitError] = []

    def is_limited() -> bool:
        for _ in range(8):
            try:
                narrow.ask("whole", tokens=2)
            except openai.RateLimitError as error:
                refused.append(error)
        return bool(refused)

    until("the limit at the gateway", is_limited, 15)
    assert "of 4 requests a minute are used" in str(refused[0])
    assert int(refused[0].response.headers["retry-after"]) >= 1
    path = f"quotas/{made['series']}"
    walk.operator.call("PUT", path, {"monthly_budget": "0"}, 428)
    walk.operator.call("PUT", path, {"monthly_budget": "0"}, headers=walk.operator.etag(path))

    def is_broke() -> bool:
        try:
            narrow.ask("whole", tokens=2)
        except openai.APIStatusError as error:
            return "of 0 micro-units of the budget" in str(error)
        return False

    until("the budget at the gateway", is_broke, 15)


def test_it_keeps_forged_fields_from_the_engines(walk: Walk):
    """Both tenants name one salt and one long prompt: the second finds nothing in the cache."""
    forged = {
        "cache_salt": "ours",
        "priority": -100,
        "kv_transfer_params": {"do_remote_decode": True},
        "chat_template": "{{ 'x' * 400 }}",
        "request_id": "somebody-elses",
    }
    secret = walk.stack.ready["api_keys"]["acme"]
    gateway, demo = walk.stack.ready["gateway_url"], "chat-small"
    headers = {"x-tenant-id": "1", "x-request-id": "mine", "x-data-parallel-rank": "0"}
    text = [{"role": "user", "content": f"{walk.name} tells of valves. " * 30}]
    walk.operator.call("PUT", f"tenants/{walk.tenant}/models/{demo}", {"why": "to compare"})
    until("the grant", lambda: demo in {m.id for m in walk.clients[0].client.models.list()}, 15)
    cached = []
    for key in (secret, secret, walk.keys["desk"]["secret"]):
        client = openai.OpenAI(base_url=f"{gateway}/v1", api_key=key, max_retries=0)
        answer = client.chat.completions.create(
            model=demo, messages=text, max_tokens=2, extra_body=forged, extra_headers=headers
        )
        details = answer.usage.prompt_tokens_details
        cached.append((details.cached_tokens or 0) if details else 0)
        assert answer.usage.prompt_tokens > 60  # the template of the model, not the forged one
    walk.clients[0].count("served")
    # Two replicas: acme's second request may have met the other one.
    assert cached[0] == 0 and cached[2] == 0
    mine = until("its row", lambda: walk.usage(model=demo), 20)
    assert [row["outcome"] for row in mine] == ["served"]


def test_it_counts_who_hung_up(walk: Walk):
    walk.clients[0].leave()
    rows = until("its row", lambda: walk.usage(outcome="cancelled"), 30)
    assert rows[0]["completion_tokens"] >= 4


def test_it_refuses_a_revoked_key_within_five_seconds(walk: Walk):
    leaver = walk.new_key("leaver")
    leaver.ask("whole", tokens=2)
    key = walk.keys["leaver"]["id"]
    walk.operator.post(f"tenants/{walk.tenant}/keys/{key}/revoke", {"why": "it leaked"})
    began = time.monotonic()

    def is_refused() -> bool:
        try:
            leaver.ask("whole", tokens=2)
        except openai.AuthenticationError:
            return True
        return False

    until("the refusal", is_refused, 30, every=0.1)
    assert time.monotonic() - began <= 5


def test_it_shows_degradation(walk: Walk):
    walk.settled_usage()
    found = walk.operator.get(f"tenants/{walk.tenant}/degradation", service=walk.model)
    assert found["totals"]["served"] > 40
    assert found["parts"][0]["ttft"]["p95"] > 0
    assert {"rollout"} <= {m["kind"] for m in found["markers"]}
    assert walk.operator.http.get(f"/tenants/{walk.tenant}/degradation/").status_code == 200
    assert walk.operator.http.get("/degradation/").status_code == 200


def test_it_keeps_who_did_what(walk: Walk):
    mine = walk.operator.rows("audit", tenant=walk.tenant)
    verbs = {(e["verb"], e["actor"]) for e in mine}
    olga, vic = (walk.stack.ready[who]["email"] for who in ("operator", "approver"))
    for verb in ("tenant.create", "application.create", "key.create", "key.revoke", "quota.set"):
        assert (verb, olga) in verbs
    rest = {
        (e["verb"], e["actor"]) for e in walk.operator.rows("audit", since=walk.began.isoformat())
    }
    assert {("rollout.propose", olga), ("change.approve", vic), ("rollout.roll_back", olga)} <= rest
    revoked = next(e for e in mine if e["verb"] == "key.revoke")
    assert revoked["why"] == "it leaked" and revoked["before"] != revoked["after"]
    with pytest.raises(Exception, match="append|allowed|permission"):
        walk.stack.sql("UPDATE audit_event SET why = 'nothing' WHERE id = %s", revoked["id"])


def test_it_has_one_row_for_each_request_by_outcome(walk: Walk):
    rows = walk.settled_usage()
    assert len({row["request_id"] for row in rows}) == len(rows)
    # Whom another replica answered, or a second attempt, was answered all the same.
    told = Counter("served" if row["outcome"] in ANSWERED else row["outcome"] for row in rows)
    assert told == walk.sent


def test_it_counted_the_tokens_that_the_engines_counted(walk: Walk):
    rows = [row for row in walk.settled_usage() if row["model"] == walk.model]
    prompt = sum(row["prompt_tokens"] for row in rows)
    completion = sum(row["completion_tokens"] for row in rows)
    # For each who hung up the engine may have made a few more before it heard of it.
    left = 20 * sum(row["outcome"] == "cancelled" for row in rows)
    for _ in range(10):  # a probe on its way is in the engine's counters first
        (probes, lost), engines = walk.probes(), walk.counters.tokens()
        asked, made = (
            engines.prompt - prompt - probes.prompt,
            engines.made - completion - probes.made,
        )
        if -lost.prompt <= asked <= 0 and -lost.made <= made <= left:
            break
        time.sleep(2)
    assert -lost.prompt <= asked <= 0
    assert -lost.made <= made <= left


def test_it_charges_quantity_times_price(walk: Walk):
    rows = [r for r in walk.settled_usage() if r["model"] == walk.model and r["outcome"] in BILLED]
    owed = sum((worth(row) for row in rows), Decimal(0))
    charges = until("the charges", lambda: charges_if(walk, owed), 90, every=2.0)
    assert all(
        Decimal(c["amount"]) == Decimal(c["quantity"]) * Decimal(c["unit_price"]) for c in charges
    )
    summary = walk.finance.get(f"tenants/{walk.tenant}/billing")
    everything = walk.finance.rows("charges", tenant=walk.tenant, since=walk.hour.isoformat())
    assert Decimal(summary["charged"]) == sum(Decimal(c["amount"]) for c in everything)
    by_model = {part["name"]: Decimal(part["amount"]) for part in summary["by_model"]}
    assert by_model[walk.model] == owed


def worth(row: dict) -> Decimal:
    """What a request costs, from its tokens and the price list."""
    tokens = {
        "prompt": row["prompt_tokens"] - row["cached_tokens"],
        "cached": row["cached_tokens"],
        "completion": row["completion_tokens"],
    }
    return sum((n * Decimal(PRICES[m]) / MILLION for m, n in tokens.items()), Decimal(0))


def charges_if(walk: Walk, owed: Decimal) -> list[dict]:
    walk.finance.post("rating-runs")
    filters = {"tenant": walk.tenant, "model": walk.model, "since": walk.hour.isoformat()}
    charges = walk.finance.rows("charges", **filters)
    return charges if sum(Decimal(c["amount"]) for c in charges) == owed else []


@pytest.mark.parametrize("version", ["1.4", "1.2"])
def test_it_exports_the_sums_of_the_page(walk: Walk, version: str):
    until_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    wish = {"starts_at": walk.hour.isoformat(), "ends_at": until_hour.isoformat()}
    wish |= {"format": f"focus-{version}", "tenant": walk.tenant}
    job = walk.finance.post("exports", wish, 202)

    def done() -> dict | None:
        found = walk.finance.get(f"exports/{job['id']}")
        assert found["state"] != "failed", found["why"]
        return found if found["state"] == "done" else None

    artifact = until("the file", done, 40, every=0.5)["artifact"]
    content = walk.finance.http.get(f"/api/v1/exports/{job['id']}/download").content
    assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
    assert len(content) == artifact["bytes"]
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert len(rows) == artifact["rows"] > 0
    billed = sum(Decimal(row["BilledCost"]) for row in rows)
    summary = walk.finance.get(f"tenants/{walk.tenant}/billing")
    assert billed == Decimal(artifact["sums"]["USD"]) == Decimal(summary["charged"])
