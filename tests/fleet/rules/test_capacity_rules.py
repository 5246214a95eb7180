"""Which minimum GPUs can keep while replicas change places, checked against every moment."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.rules.capacity import Exchange, mix_of, pooled, room_in, times, to_give

H, L = "NVIDIA-H100-80GB-HBM3", "NVIDIA-L40S"
SMALL = range(1, 5)


def exchanges():
    return (
        Exchange({H: new}, {H: old}, replicas, old_replicas)
        for new, old, replicas, old_replicas in product(SMALL, repeat=4)
    )


def test_the_peak_is_that_of_the_most_crowded_moment():
    for x in exchanges():
        for least in range(x.most + 1):
            moments = ((j + 1) * x.new[H] + max(least - j, 0) * x.old[H] for j in range(x.replicas))
            assert x.peak(least) == {H: max(moments)}, (x, least)


def test_a_surge_keeps_its_minimum_and_one_gpu_less_does_not_within_a_replica():
    for x in exchanges():
        budget = x.budget(1, x.most)
        assert x.keepable(budget) == x.most
        fewer = {H: x.before[H] + x.new[H] * (x.on_top(budget)[H] // x.new[H] - 1)}
        assert x.on_top(budget)[H] == x.new[H] or x.keepable(fewer) < x.most


MIXES = st.dictionaries(st.sampled_from([H, L]), st.integers(1, 4), min_size=1)
REPLICAS = st.integers(1, 6)
MIXED = st.builds(Exchange, MIXES, MIXES, REPLICAS, REPLICAS)


def change_places(x, budget, least):
    """One after the other, on these GPUs and no others. Whether it comes to its end."""
    old, new = x.old_replicas, 0
    while old or new < x.replicas:
        held = times(old, x.old) + times(new, x.new)
        if new < x.replicas and fits(held + times(1, x.new), budget):
            new += 1
        elif old and old + new > least:
            old -= 1
        else:
            return False
        assert old + new >= least
    return True


def fits(held, budget):
    return all(n <= budget.get(p, 0) for p, n in held.items())


@settings(max_examples=400, deadline=None)
@given(MIXED, st.integers(1, 3))
def test_a_surge_of_roles_on_several_products_comes_to_its_end(x, surge):
    for least in range(x.most + 1):
        assert change_places(x, x.budget(surge, least), least), (x, least)


@settings(max_examples=400, deadline=None)
@given(MIXED, st.dictionaries(st.sampled_from([H, L]), st.integers(0, 9)))
def test_the_minimum_on_several_products_is_the_greatest_that_can_be_kept(x, more):
    budget = {p: n + more.get(p, 0) for p, n in x.inside.items()}
    kept = x.keepable(budget)
    assert change_places(x, budget, kept)
    for least in range(kept + 1, x.most + 1):
        assert not change_places(x, budget, least), (x, least)


@settings(max_examples=200, deadline=None)
@given(MIXES, MIXES, st.integers(0, 9), st.integers(0, 9))
def test_what_is_said_to_give_gives_enough(wanted, each, of_h, of_l):
    left = {H: of_h, L: of_l}
    goes = to_give(left, wanted, each)
    if goes is None:
        assert any(left[p] < n and not each.get(p) for p, n in wanted.items())
        return
    after = {p: left[p] + goes * each.get(p, 0) for p in left}
    assert room_in(after, wanted, 1) == 1
    if goes:
        fewer = {p: left[p] + (goes - 1) * each.get(p, 0) for p in left}
        assert room_in(fewer, wanted, 1) == 0


EXCHANGES = {
    "as many as before": (Exchange({H: 1}, {H: 1}, 4, 4), 3),
    "the only one": (Exchange({H: 1}, {H: 1}, 1, 1), 0),
    "larger ones": (Exchange({H: 3}, {H: 1}, 4, 4), 3),
    "half as many of twice the size": (Exchange({H: 2}, {H: 1}, 2, 4), 1),
    "one in the place of four": (Exchange({H: 4}, {H: 1}, 1, 4), 0),
    "more than before": (Exchange({H: 1}, {H: 1}, 8, 4), 4),
    "on other GPUs": (Exchange({L: 1}, {H: 1}, 4, 4), 4),
    "one role on other GPUs": (Exchange({H: 1, L: 2}, {H: 3}, 2, 2), 1),
}


@pytest.mark.parametrize("case", EXCHANGES)
def test_in_place_it_keeps_what_both_sizes_allow(case):
    exchange, want = EXCHANGES[case]
    assert exchange.keepable(exchange.inside) == want


def test_what_takes_any_product_shares_one_pool():
    assert pooled({H: 1, L: 2}, {"": 1}) == ({"": 3}, {"": 1})
    assert pooled({H: 1}, {L: 1}) == ({H: 1}, {L: 1})
    assert mix_of({H: (2, 1), L: (1,)}) == {H: 3, L: 1}


def test_gpus_of_another_product_are_no_room():
    assert room_in({H: 9}, {H: 2, L: 1}, 4) == 0
    assert to_give({H: 1}, {L: 1}, {H: 1}) is None
    assert to_give({H: 1, L: 0}, {H: 3, L: 1}, {H: 1, L: 1}) == 2
    assert to_give({H: 3}, {H: 3}, {H: 1}) == 0
