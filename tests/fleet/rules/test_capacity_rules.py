"""Which minimum GPUs can keep while replicas change places, checked against every moment."""

from itertools import product

import pytest

from fleet.rules.capacity import Exchange, mix_of, pooled, room_in, to_give

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
