"""Method token-work-1: pools are given away exactly, by work, in any order, to the same bytes."""

from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rules.allocation import HOUR_MS, Consumer, GpuPool, pool_cost
from billing.rules.token_work import (
    LEAST_SAMPLES,
    Choice,
    Sample,
    Use,
    Weights,
    allocate_work,
    calibrate,
    method_at,
    work_of,
)
from tests.billing.factories import NOW

H100 = Decimal("2.60")
pools = st.builds(
    GpuPool,
    cluster=st.just("dc1"),
    product=st.just("H100"),
    state=st.sampled_from(["serving", "serving", "serving", "loading", "free"]),
    service_id=st.just(1),
    service=st.just("chat"),
    gpu_ms=st.integers(1, 10**9),
)
tokens = st.integers(0, 10**9)
used = st.dictionaries(
    st.builds(
        Consumer, st.integers(1, 3), st.integers(1, 3), st.just("chat"),
        st.sampled_from(["", "rel-a", "rel-b"]),
    ),
    st.builds(Use, engine_ms=st.integers(0, 10**9), fresh=tokens, cached=tokens, completion=tokens),
)  # fmt: skip
weights = st.dictionaries(
    st.sampled_from(["rel-a", "rel-b"]),
    st.builds(Weights, prefill_ns=st.integers(0, 10**8), decode_ns=st.integers(0, 10**8)),
)


@given(pool=pools, used=used, others=st.integers(0, 10**9), weights=weights)
def test_it_gives_every_pool_away_exactly(pool, used, others, weights):
    cost = pool_cost(pool.gpu_ms, H100)
    shares = allocate_work(pool, cost, used, pool.gpu_ms + others, weights)
    assert sum(s.amount for s in shares) == cost
    assert all(s.amount >= 0 and s.weight >= 0 and s.saved >= 0 for s in shares)


@given(pool=pools, used=used, weights=weights, seed=st.integers())
def test_the_order_of_what_it_is_given_decides_nothing(pool, used, weights, seed):
    cost = pool_cost(pool.gpu_ms, H100)
    items = list(used.items())
    Random(seed).shuffle(items)  # noqa: S311
    one = allocate_work(pool, cost, used, pool.gpu_ms, weights)
    two = allocate_work(pool, cost, dict(items), pool.gpu_ms, weights)
    assert repr(one).encode() == repr(two).encode()


def test_it_shares_by_work_and_leaves_idle_as_engine_time_says():
    pool = GpuPool("dc1", "H100", "serving", 1, "chat", HOUR_MS)
    reader, writer = Consumer(1, 1, "chat", "rel-a"), Consumer(2, 2, "chat", "rel-a")
    used = {
        reader: Use(900_000, fresh=3_000_000, cached=1_000_000),
        writer: Use(900_000, completion=10_000),
    }
    shares = allocate_work(pool, H100, used, HOUR_MS, {"rel-a": Weights(1_000, 100_000)})
    found = {(s.kind, s.consumer): s for s in shares}
    # 3 s and 1 s of work share the half of the hour in which requests were in the engine.
    assert found["tenant", reader].amount == Decimal("0.975")
    assert found["tenant", writer].amount == Decimal("0.325")
    assert found["idle", None].amount == Decimal("1.3")
    assert (found["tenant", reader].weight, found["tenant", writer].weight) == (1_350_000, 450_000)
    assert found["tenant", reader].saved == Decimal("0.325")
    assert found["tenant", writer].saved == 0


def test_a_release_without_weights_counts_with_its_engine_time():
    use = Use(7, fresh=1_000, completion=1_000)
    assert work_of(use, None) == 7_000_000
    pool = GpuPool("dc1", "H100", "serving", 1, "chat", HOUR_MS)
    old, new = Consumer(1, 1, "chat", "rel-a"), Consumer(2, 2, "chat", "rel-b")
    used = {old: Use(1_000_000), new: Use(800_000, fresh=1_000_000)}
    shares = allocate_work(pool, H100, used, HOUR_MS, {"rel-b": Weights(1_000_000, 0)})
    amounts = {s.consumer: s.amount for s in shares}
    assert amounts[old] == amounts[new] == Decimal("0.65")


def samples(number, prefill, decode, noise=0):
    dice = Random(7)  # noqa: S311
    for n in range(number):
        fresh, completion = dice.randrange(100, 8_000), dice.randrange(1, 900)
        ms = fresh * prefill + completion * decode + dice.randrange(-noise, noise + 1)
        yield Sample(f"{n:05}", fresh, completion, max(1, round(ms)))


def test_it_finds_the_weights_that_made_the_times():
    found = calibrate(samples(1_000, 0.05, 12, noise=300))
    assert found.usable
    assert found.prefill_ns == pytest.approx(50_000, rel=0.1)
    assert found.decode_ns == pytest.approx(12_000_000, rel=0.02)
    assert found.fit > Decimal("0.95")


def test_the_same_samples_in_any_order_give_the_same_bytes():
    ordered = list(samples(400, 0.1, 9, noise=50))
    mixed = Random(1).sample(ordered, len(ordered))  # noqa: S311
    assert calibrate(ordered) == calibrate(mixed)
    assert calibrate(ordered[1:]).sha != calibrate(ordered).sha


@given(
    st.lists(
        st.builds(
            Sample, st.uuids().map(str), st.integers(0, 10**6), st.integers(0, 10**5),
            st.integers(1, 10**7),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_no_weight_is_below_zero(found):
    fitted = calibrate(found)
    assert fitted.prefill_ns >= 0
    assert fitted.decode_ns >= 0
    assert 0 <= fitted.fit <= 1
    assert not fitted.usable  # too few


def test_a_cost_below_zero_is_left_at_zero():
    # The more prompt, the shorter: only decode explains anything.
    found = calibrate(
        Sample(f"{n}", 10 * (300 - n), 50 + n, 20 * (50 + n)) for n in range(LEAST_SAMPLES)
    )
    assert (found.prefill_ns, found.decode_ns) == (0, 20_000_000)


def test_what_tokens_do_not_explain_is_not_used():
    dice = Random(3)  # noqa: S311
    noise = [Sample(f"{n}", 1_000, 100, dice.randrange(1, 9_000)) for n in range(500)]
    found = calibrate(noise)
    assert not found.usable
    assert "0.5 is needed" in found.why
    assert calibrate([]).why == f"0 samples, {LEAST_SAMPLES} are needed"


def test_the_latest_choice_that_began_counts():
    choices = [Choice("a", NOW), Choice("b", NOW), Choice("c", NOW + timedelta(hours=2))]
    assert method_at(choices, NOW - timedelta(hours=1), "usual") == "usual"
    assert method_at(choices, NOW + timedelta(hours=1), "usual") == "b"
    assert method_at(choices, NOW + timedelta(hours=2), "usual") == "c"
