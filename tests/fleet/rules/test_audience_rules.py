"""Who goes first has the first step alone; who goes last meets the new release after all gates."""

import pytest

from fleet.rules.audience import Audience, Named, audience_from, canary_of, refuse_audience
from fleet.rules.phases import Phase, PlanKind

ACME, GLOBEX = Named(1, "acme", 1), Named(2, "globex", 2)
CHAT = Named(7, "acme/chat", 1)
BOTH = Audience((ACME,), (), ("batch",), (GLOBEX,))

PARTS = {
    "a tenant that goes first": (0, 1, "interactive", True),
    "a class that goes first": (0, 3, "batch", True),
    "somebody else in the first step": (0, 3, "interactive", False),
    "somebody else later": (1, 3, "interactive", True),
    "who goes last, in the first step": (0, 2, "batch", False),
    "who goes last, later": (2, 2, "critical", False),
}


@pytest.mark.parametrize("case", PARTS)
def test_it_knows_who_takes_part(case):
    step, tenant, kind, want = PARTS[case]
    assert BOTH.takes_part(step, tenant, kind) is want


def test_an_application_goes_first_without_the_rest_of_its_tenant():
    chat = Audience(first_applications=(CHAT,))
    assert chat.takes_part(0, 1, "batch", CHAT.id)
    assert not chat.takes_part(0, 1, "batch")
    assert not chat.takes_part(0, 2, "batch")
    assert chat.takes_part(1, 1, "batch") and chat.takes_part(1, 2, "batch")


def test_it_is_kept_and_read_again():
    assert audience_from(BOTH.as_json()) == BOTH
    assert audience_from({}) == Audience()
    assert Audience().as_json() == {}


def test_it_says_whose_traffic_moves():
    assert BOTH.words(0) == " of acme, class batch"
    assert BOTH.words(1) == " of all but globex"
    assert Audience().words(0) == ""


REFUSED = {
    "first and last at once": (Audience((ACME,), last_tenants=(ACME,)), PlanKind.SURGE_CANARY, 3,
        "acme cannot go first and be left out"),
    "an application of a tenant that goes last": (
        Audience(first_applications=(CHAT,), last_tenants=(ACME,)), PlanKind.SURGE_CANARY, 3,
        "acme cannot go first"),
    "in place": (BOTH, PlanKind.REPLACE, 3, "needs both releases in full"),
    "no step for the others": (BOTH, PlanKind.SURGE_CANARY, 1, "the plan has 1"),
    "no step at all": (
        Audience(last_tenants=(ACME,)), PlanKind.SURGE_CANARY, 0, "The plan has no step"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses(case):
    audience, kind, steps, words = REFUSED[case]
    assert words in refuse_audience(audience, kind, steps)


def test_it_lets_everybody_go_alike_in_every_plan():
    assert refuse_audience(Audience(), PlanKind.REPLACE, 0) == ""
    assert refuse_audience(BOTH, PlanKind.SURGE_CANARY, 2) == ""


def test_gateways_learn_it_for_the_steps_only():
    first = canary_of(5, 9, Phase.ANALYZING, 0, BOTH)
    assert (first.only_tenants, first.only_classes, first.never_tenants) == ((1,), ("batch",), (2,))
    second = canary_of(5, 9, Phase.SHIFTING, 1, BOTH)
    assert (second.only_tenants, second.only_classes, second.never_tenants) == ((), (), (2,))
    last = canary_of(5, 9, Phase.PROMOTING, 3, BOTH)
    assert (last.release_id, last.never_tenants) == (9, ())
    assert canary_of(5, 9, Phase.SOAKING, 3, BOTH) is None
