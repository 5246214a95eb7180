"""Which measured starts tell of the next one, and what is said where none is like it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.rules.situation import Starts
from fleet.rules.starts import (
    ANYWHERE,
    Cache,
    History,
    Place,
    Start,
    cache_of,
    deadline_of,
    learn,
)
from fleet.rules.unmeasured import missing_start

WARM, COLD = Cache.WARM, Cache.COLD
OWN = History("r2", (Start(60, "a", WARM), Start(400, "a", COLD), Start(90, "b", WARM)))
MODEL = History(
    "org/model", (*OWN.starts, Start(500, "b", COLD), Start(80, "a", WARM)), borrowed=True
)
A_WARM, B_COLD = Place(frozenset({"a"}), WARM), Place(frozenset({"b"}), COLD)
CASES = {
    "its own on this pool": ([OWN, MODEL], A_WARM, ("r2", 1, 60, False, "")),
    "its own without the image": (
        [OWN, MODEL], Place(frozenset({"a"}), COLD), ("r2", 1, 400, False, "")),
    "the model's where its own never started so": (
        [OWN, MODEL], B_COLD, ("org/model", 1, 500, True, "")),
    "of two pools": (
        [OWN, MODEL], Place(frozenset({"a", "b"}), WARM), ("r2", 2, 90, False, "")),
    "the same state on another pool": (
        [OWN], B_COLD, ("r2", 1, 400, False, "1 start of r2 on other nodes without the image")),
    "nothing like it": (
        [History("r2", (Start(60, "a", WARM), Start(70, "a", "")))], B_COLD,
        ("r2", 2, 70, False, "2 starts of r2 on whichever nodes")),
    "where nobody asked": ([OWN, MODEL], ANYWHERE, ("r2", 3, 400, False, "")),
    "nobody knows the state": (
        [OWN], Place(frozenset({"b"})), ("r2", 1, 90, False, "")),
    "never measured": ([History("r2", ())], A_WARM, ("r2", 0, None, False, "")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_takes_what_is_most_like_the_next_start(case):
    histories, place, want = CASES[case]
    found = learn(histories, place, pool="H100")
    assert (found.of, found.samples, found.p95, found.borrowed, found.instead) == want
    assert found.pool == "H100"


def test_it_shows_every_kind_that_was_measured():
    groups = learn([OWN, MODEL], A_WARM).groups
    kinds = [(g.of, g.node_pool, g.cache, g.samples) for g in groups]
    assert kinds[:3] == [("r2", "a", COLD, 1), ("r2", "a", WARM, 1), ("r2", "b", WARM, 1)]
    assert ("org/model", "a", WARM, 2) in kinds


def test_the_last_fifty_count():
    starts = [Start(float(n), "a", WARM) for n in range(200)]
    found = learn([History("r2", starts)], A_WARM)
    assert (found.samples, found.p95, found.groups[0].samples) == (50, 47.0, 50)


def test_deadlines_fit_the_slowest_kind_that_it_may_become():
    found = learn([OWN], A_WARM)
    assert (found.p95, found.slowest) == (60, 400)
    assert deadline_of(found, 3600) == timedelta(seconds=800)
    assert deadline_of(learn([OWN], Place(frozenset({"b"}), WARM)), 3600) == timedelta(seconds=600)


MISSING = {
    "none": (Starts(3, 1, 2, "r2"), ""),
    "never": (
        Starts(of="r2", expected="nodes of a"),
        "cold start of the new release on nodes of a: 0 starts seen"),
    "of others": (
        Starts(1, 1, 2, "org/model", borrowed=True),
        "cold start of the new release: 0 starts seen; in its place: 1 start of org/model"),
    "of other nodes": (
        learn([OWN], B_COLD),
        "cold start of the new release on nodes of b without the image: 0 starts seen;"
        " in its place: 1 start of r2 on other nodes without the image"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISSING)
def test_it_says_which_start_was_not_measured(case):
    starts, want = MISSING[case]
    assert missing_start("new", starts) == want


PULLS = {
    "pulled": (['Successfully pulled image "x" in 3s'], False, COLD),
    "one of two was pulled": (["Container image already present on machine",
                               "Successfully pulled image"], True, COLD),
    "there already": (['Container image "x" already present on machine'], False, WARM),
    "nothing was said, and it ran there before": ([], True, WARM),
    "nobody can tell": ([], False, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", PULLS)
def test_it_reads_whether_the_image_was_there(case):
    said, known, want = PULLS[case]
    assert cache_of(said, known=known) == want


KINDS = st.lists(
    st.builds(
        Start, st.floats(0, 9e4), st.sampled_from(["", "a", "b"]), st.sampled_from(["", WARM, COLD])
    ),
    max_size=30,
)
PLACES = st.builds(
    Place, st.frozensets(st.sampled_from(["", "a", "b"])), st.sampled_from(["", WARM, COLD])
)


@given(own=KINDS, model=KINDS, place=PLACES)
def test_whatever_was_measured_a_plan_has_a_number_and_says_what_it_is_of(own, model, place):
    found = learn([History("r2", own), History("m", [*own, *model], borrowed=True)], place)
    assert (found.p95 is None) == (not own and not model)
    if found.p95 is not None and found.p50 is not None:
        assert found.p50 <= found.p95 <= (found.slowest or 0)
    exact = [s for s in (*own, *model) if place.has(s)]
    assert bool(found.instead) == (not exact and found.p95 is not None)
