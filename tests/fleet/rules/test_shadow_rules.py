"""Shadow steps: requests are copied, answers compared and dropped, and no client meets them."""

from dataclasses import replace

import pytest

from fleet.rules.audience import Audience, Named, canary_of, refuse_audience
from fleet.rules.phases import Cause, Phase, PlanKind, Verdict
from fleet.rules.proposal import line_of, read_lines, read_steps, refuse_shadows, shadows_of
from fleet.rules.situation import StepPlan
from tests.fleet.rules.walk import Walk, make_state

SHADOW, CANARY = StepPlan(20, 10, 20, shadow=True), StepPlan(10, 10, 20)
STEPS = (SHADOW, CANARY)


def walk_of(**changes):
    return Walk(make_state(steps=STEPS), **changes)


def met(walk):
    """The most traffic that clients gave to the new release while the walk went on."""
    most = 0
    while walk.state.phase not in (Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.PAUSED):
        walk.step()
        most = max(most, walk.state.weight_new)
    return most


def test_a_good_release_passes_its_shadow_before_it_takes_traffic():
    walk = walk_of().run(until={Phase.ANALYZING})
    assert (walk.state.step, walk.state.weight_old, walk.state.weight_new) == (0, 100, 0)
    assert "answered copies of 20" in walk.state.why
    walk.run(until={Phase.SHIFTING})
    assert (walk.state.step, walk.state.weight_new) == (1, 0)
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why


BAD = {"slow": {"slow": 3.0}, "failing": {"errors": 0.3}}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_release_goes_back_before_any_client_met_it(case):
    walk = walk_of(**BAD[case])
    assert met(walk) == 0
    assert (walk.state.phase, walk.state.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED)
    failed = next(why for phase, why in walk.history if phase is Phase.ABORTING)
    assert failed.startswith("Gate of step 1 as a shadow of 20 % failed")


def test_without_copies_it_pauses_and_says_how_many_are_missing():
    walk = walk_of(copies=False)
    assert met(walk) == 0
    assert walk.state.phase is Phase.PAUSED
    assert "20 of 20 requests of the canary are missing" in walk.state.why


def test_a_plan_of_shadows_alone_promotes_after_them():
    walk = Walk(make_state(steps=(SHADOW,))).run(until={Phase.PROMOTING})
    assert walk.state.weight_new == 0
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why


def test_the_old_release_gives_no_replica_up_for_copies():
    walk = Walk(make_state(steps=(replace(SHADOW, percent=100),), surge=1), gpus=5)
    walk.run(until={Phase.PROMOTING})
    assert walk.cluster.serving(walk.names["old"]) == 4


def test_its_gate_reads_like_any_other():
    walk = walk_of()
    readings = []
    while walk.state.step == 0:
        readings.append(walk.step().reading)
    assert [r.verdict for r in readings if r] == [Verdict.PASS]


REFUSED = {
    "a shadow after traffic": ([CANARY, SHADOW], "Shadow steps come first"),
    "shadows that fall": ([SHADOW, replace(SHADOW, percent=10)], "must rise"),
    "more than all": ([replace(SHADOW, percent=101)], "A shadow of 101 %: between 1 and 100"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_steps_in_another_order(case):
    steps, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        read_lines(line_of(s) for s in steps)


def test_steps_are_read_as_they_are_written():
    steps = (replace(SHADOW, percent=5), SHADOW, CANARY, replace(CANARY, percent=50))
    assert read_lines(line_of(s) for s in steps) == steps
    assert (shadows_of(steps), shadows_of(())) == (2, 0)
    with pytest.raises(ValueError, match="is not like: 25, 300, 100 or shadow"):
        read_lines(["mirror 10, 1, 1"])


def test_a_shadow_is_yes_or_no():
    step = {"percent": 10, "hold_seconds": 1, "min_samples": 1}
    assert read_steps([step | {"shadow": True}])[0].shadow
    with pytest.raises(ValueError, match="shadow or not"):
        read_steps([step | {"shadow": 1}])


@pytest.mark.parametrize("kind", PlanKind)
def test_only_plans_with_both_releases_in_full_have_shadows(kind):
    beside = kind in (PlanKind.SURGE_CANARY, PlanKind.BLUE_GREEN)
    assert bool(refuse_shadows(kind, STEPS)) is not beside
    assert not refuse_shadows(kind, (CANARY,))


def test_who_goes_first_is_copied_first_and_who_goes_last_never():
    acme, globex = Named(1, "acme", 1), Named(2, "globex", 2)
    audience = Audience((acme,), last_tenants=(globex,), alone=2)
    shadow = canary_of(7, 9, Phase.ANALYZING, 0, audience, 20)
    assert (shadow.only_tenants, shadow.never_tenants, shadow.shadow_percent) == ((1,), (2,), 20)
    first = canary_of(7, 9, Phase.ANALYZING, 1, audience)
    assert (first.only_tenants, first.shadow_percent) == ((1,), 0)
    assert canary_of(7, 9, Phase.ANALYZING, 2, audience).only_tenants == ()
    assert "give it one more" in refuse_audience(audience, PlanKind.SURGE_CANARY, 2)
    assert audience.told()["First 2 steps only for"] == "acme"


@pytest.mark.parametrize("phase", [Phase.CANARY_VERIFYING, Phase.PROMOTING, Phase.ABORTING])
def test_nothing_is_copied_outside_the_step(phase):
    canary = canary_of(7, 9, phase, 0, Audience(), 20)
    assert canary is None or canary.shadow_percent == 0
