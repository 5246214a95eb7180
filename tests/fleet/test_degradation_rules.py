"""Injected faults are named as the first cause: one synthetic picture for each cause."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleet.rules.degradation.causes import CAUSES, Cause, rank, sentence
from fleet.rules.degradation.facts import (
    Consumer,
    Engines,
    Facts,
    Move,
    QuotaChange,
    ReleaseTraffic,
    Replicas,
    Traffic,
)
from fleet.rules.degradation.symptoms import Symptom, find_misses
from fleet.rules.histogram import of_values
from fleet.rules.objectives import Objective

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FAST, SLOW = of_values([50.0] * 100), of_values([50.0] * 50 + [9000.0] * 50)


def traffic(ttft=FAST, tokens=60_000, itl=FAST, **counted):
    """`counted`: outcome__reason=number."""
    reasons = {}
    for key, n in counted.items():
        outcome, _, reason = key.partition("__")
        reasons[(outcome, reason)] = n
    outcomes: dict[str, int] = {}
    for (outcome, _), n in reasons.items():
        outcomes[outcome] = outcomes.get(outcome, 0) + n
    return Traffic(180.0, outcomes, reasons, ttft, itl, FAST, tokens)


CALM = Facts(
    tenant_id=1,
    tenant="acme",
    service="chat",
    traffic_class="interactive",
    objective=Objective(2000, 100, 5000),
    at=NOW,
    now=traffic(served=1000),
    before=traffic(served=1000),
    replicas=Replicas(2, 2),
    engines=Engines(2, 0.0, 4.0, 0.4, 0.0),
)
FULL = Engines(2, 40.0, 32.0, 0.98, 30.0)
MOVE = Move(7, "shifting", True, False, 12, "r2", "r1", NOW - timedelta(minutes=4))


def by_release(old, new):
    return (ReleaseTraffic(11, "r1", old), ReleaseTraffic(12, "r2", new))


LOWERED = QuotaChange(NOW, "olga@example.com", "tokens a minute 400,000 → 200,000", True)
RAISED = QuotaChange(NOW, "olga@example.com", "tokens a minute 200,000 → 400,000", False)

# sentence -> (changes of the calm picture, the symptom, the cause that must come first, words)
FAULTS = {
    "tokens a minute are used up": (
        {"now": traffic(served=500, rejected__tpm=500)},
        Symptom.REJECTED,
        Cause.OWN_QUOTA,
        "its own quota of tokens a minute",
    ),
    "the budget is spent": (
        {"now": traffic(rejected__budget=50)},
        Symptom.REJECTED,
        Cause.OWN_QUOTA,
        "monthly budget",
    ),
    "a quota was lowered": (
        {"now": traffic(served=500, rejected__tpm=500), "quota_changes": (LOWERED,)},
        Symptom.REJECTED,
        Cause.QUOTA_CHANGE,
        "lowered at 12:00 by olga@example.com",
    ),
    "a quota was raised, and still is too small": (
        {"now": traffic(served=500, rejected__tpm=500), "quota_changes": (RAISED,)},
        Symptom.REJECTED,
        Cause.OWN_QUOTA,
        "its own quota",
    ),
    "clients ask for a model that they may not use": (
        {"now": traffic(served=500, rejected__unknown_model=500)},
        Symptom.REJECTED,
        Cause.BAD_REQUESTS,
        "unknown model",
    ),
    "the gateway is full": (
        {"now": traffic(served=900, shed__gateway_full=100)},
        Symptom.SHED,
        Cause.GATEWAY,
        "the gateway's own bound",
    ),
    "the canary is slower": (
        {
            "now": traffic(SLOW, served=1000),
            "moves": (MOVE,),
            "releases": by_release(traffic(served=500), traffic(SLOW, served=500)),
            "engines": FULL,
        },
        Symptom.TTFT,
        Cause.ROLLOUT,
        "r2, which RO-7 brings, is slower",
    ),
    "the canary fails": (
        {
            "now": traffic(served=900, failed__upstream_error=100),
            "moves": (MOVE,),
            "releases": by_release(
                traffic(served=900), traffic(served=100, failed__upstream_error=100)
            ),
        },
        Symptom.ERRORS,
        Cause.ROLLOUT,
        "fails 50 % of its requests",
    ),
    "the new release is slower than the old one was": (
        {
            "now": traffic(SLOW, served=1000),
            "moves": (replace(MOVE, phase="succeeded", is_open=False),),
            "releases": (ReleaseTraffic(12, "r2", traffic(SLOW, served=1000)),),
        },
        Symptom.TTFT,
        Cause.ROLLOUT,
        "is slower",
    ),
    "a move in place takes replicas": (
        {
            "now": traffic(SLOW, served=1000),
            "moves": (MOVE,),
            "releases": by_release(traffic(SLOW, served=500), traffic(SLOW, served=500)),
            "replicas": Replicas(3, 2),
            "engines": FULL,
        },
        Symptom.TTFT,
        Cause.ROLLOUT,
        "2 of 3 replicas",
    ),
    "a node is lost": (
        {
            "now": traffic(SLOW, served=900, shed__pool_full=100),
            "replicas": Replicas(2, 1, ("node h100-2 is not ready",)),
            "engines": FULL,
        },
        Symptom.SHED,
        Cause.REPLICAS,
        "1 of 2 replicas take traffic (node h100-2 is not ready)",
    ),
    "all replicas crash": (
        {
            "now": traffic(shed__no_endpoint=300),
            "replicas": Replicas(2, 0, ("chat-1: CrashLoopBackOff",)),
        },
        Symptom.SHED,
        Cause.REPLICAS,
        "0 of 2 replicas",
    ),
    "who wakes it waits too long for the first token": (
        {"now": replace(traffic(SLOW, served=40), waking=SLOW), "replicas": Replicas(1, 0)},
        Symptom.TTFT,
        Cause.SLEEP,
        "because the service slept and was waking",
    ),
    "it does not wake in time": (
        {"now": traffic(served=40, timed_out__waking=20), "replicas": Replicas(1, 0)},
        Symptom.ERRORS,
        Cause.SLEEP,
        "the service slept and was waking: 20 of 60 requests",
    ),
    "more wait for it to wake than may": (
        {"now": traffic(served=40, shed__room_full=20)},
        Symptom.SHED,
        Cause.SLEEP,
        "the service slept",
    ),
    "clients do not wait for it to wake": (
        {"now": replace(traffic(served=10, cancelled__client_left=20), waking=SLOW)},
        Symptom.CANCELLED,
        Cause.SLEEP,
        "the service slept and was waking",
    ),
    "a neighbour bursts": (
        {
            "now": traffic(SLOW, served=1000),
            "engines": FULL,
            "consumers": (
                Consumer(1, "acme", "interactive", 20_000, 20_000),
                Consumer(2, "globex", "batch", 500_000, 10_000),
            ),
        },
        Symptom.TTFT,
        Cause.NEIGHBOUR,
        "another tenant's batch traffic",
    ),
    "its own batch work bursts": (
        {
            "now": traffic(SLOW, served=1000),
            "engines": FULL,
            "consumers": (
                Consumer(1, "acme", "batch", 400_000, 10_000),
                Consumer(2, "globex", "interactive", 12_000, 10_000),
            ),
        },
        Symptom.TTFT,
        Cause.OWN_BURST,
        "its own batch traffic",
    ),
    "the engines are full and nobody stands out": (
        {
            "now": traffic(SLOW, served=1000),
            "engines": FULL,
            "consumers": (
                Consumer(1, "acme", "interactive", 22_000, 20_000),
                Consumer(2, "globex", "interactive", 23_000, 20_000),
            ),
        },
        Symptom.TTFT,
        Cause.SATURATION,
        "40 requests wait on 2 engines",
    ),
    "tokens come slowly from full engines": (
        {"now": traffic(itl=SLOW, served=1000), "engines": FULL},
        Symptom.ITL,
        Cause.SATURATION,
        "the KV cache is 98 % used",
    ),
    "engines answer with errors": (
        {"now": traffic(served=900, failed__upstream_error=100)},
        Symptom.ERRORS,
        Cause.ENGINE_ERRORS,
        "engines answered with errors",
    ),
    "engines hang": (
        {"now": traffic(served=900, timed_out__upstream_time=100)},
        Symptom.ERRORS,
        Cause.ENGINE_ERRORS,
        "did not answer in time",
    ),
    "clients leave although nothing is slow": (
        {"now": traffic(served=500, cancelled__client_left=500)},
        Symptom.CANCELLED,
        Cause.CLIENTS,
        "close connections by themselves",
    ),
    "clients leave because it is slow": (
        {"now": traffic(SLOW, served=500, cancelled__client_left=500)},
        Symptom.CANCELLED,
        Cause.SATURATION,
        "first tokens come late",
    ),
    "nothing explains it": (
        {"now": traffic(SLOW, served=1000)},
        Symptom.TTFT,
        Cause.UNKNOWN,
        "nothing that the console can see",
    ),
    "a rollout that is no worse explains nothing": (
        {
            "now": traffic(SLOW, served=1000),
            "moves": (MOVE,),
            "releases": by_release(traffic(SLOW, served=500), traffic(SLOW, served=500)),
        },
        Symptom.TTFT,
        Cause.UNKNOWN,
        "nothing that the console can see",
    ),
}


@pytest.mark.parametrize(("changes", "symptom", "want", "words"), FAULTS.values(), ids=FAULTS)
def test_it_names_the_cause_when(changes, symptom, want, words):
    facts = replace(CALM, **changes)
    misses = {m.symptom: m for m in find_misses(facts)}
    suspects = rank(facts, misses[symptom])
    told = sentence(facts, misses[symptom], suspects[0])
    assert (suspects[0].cause, words in told) == (want, True), told
    assert [s.score for s in suspects] == sorted((s.score for s in suspects), reverse=True)


def test_it_has_a_fault_for_every_cause():
    assert {want for _, _, want, _ in FAULTS.values()} == set(Cause)
    assert len(CAUSES) == len(set(CAUSES))


def test_it_writes_one_sentence_with_numbers():
    facts = replace(CALM, now=traffic(served=500, rejected__tpm=500))
    (miss,) = find_misses(facts)
    assert sentence(facts, miss, rank(facts, miss)[0]) == (
        "acme's interactive requests to chat are rejected because it uses up its own quota of"
        " tokens a minute: 500 of 1,000 requests (50 %)."
    )


def test_it_does_not_name_the_neighbour_to_the_tenant():
    changes, _, _, _ = FAULTS["a neighbour bursts"]
    facts = replace(CALM, **changes)
    (miss,) = find_misses(facts)
    first = rank(facts, miss)[0]
    assert "globex" not in sentence(facts, miss, first)
    assert all("globex" not in e.label + e.value for e in first.evidence if not e.fleet_only)
    assert any("globex" in e.label for e in first.evidence if e.fleet_only)


QUIET = {
    "all is well": {},
    "its keys were revoked": {"now": traffic(served=500, cancelled__auth=500)},
    "it was suspended": {"now": traffic(served=500, cancelled__suspended=500)},
    "too few requests to tell": {"now": traffic(served=3, failed__upstream_error=4)},
    "a few errors among many": {"now": traffic(served=990, failed__upstream_error=10)},
    "too few samples to tell": {"now": traffic(of_values([9000.0] * 19), served=19)},
    "no traffic": {"now": Traffic()},
}


@pytest.mark.parametrize("changes", QUIET.values(), ids=QUIET)
def test_it_finds_nothing_when(changes):
    assert find_misses(replace(CALM, **changes)) == ()
