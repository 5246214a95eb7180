"""Many rollouts open at once, each holding half of its service's traffic. Imported after set-up."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.utils import timezone

from bench.rollouts.waiting import wait
from bench.rollouts.walk import (
    HELD,
    Place,
    alone,
    approve,
    back_after_abort,
    propose,
    published,
    reach,
)
from fleet.actions.waking import OPEN
from fleet.models import Rollout, Service
from fleet.rules.phases import Phase, PlanKind
from fleet.rules.situation import StepPlan

WAYS = (("surge", PlanKind.SURGE_CANARY), ("blue-green", PlanKind.BLUE_GREEN))
STARTING = 900.0  # seconds for two engines a rollout, on few cores
AT_ONCE = 5  # one of so many is aborted before all are held again

Held = list[tuple[Place, Rollout]]


def fill(place: Place, count: int) -> Held:
    """As many services with a release that serves and one that has half of the traffic."""
    places = [
        replace(place, service=made, number=1000 * (number + 1))
        for number, made in enumerate(services_of(place, count))
    ]
    each(places, "standin-0.32", (), [None] * count, {Phase.SUCCEEDED})
    return holding(places, [WAYS[number % 2][1] for number in range(count)])


def holding(places: list[Place], kinds: list[PlanKind]) -> Held:
    """One more release for each, which has half of the traffic and keeps it."""
    made = each(places, "standin-0.32.1", HELD, kinds, {Phase.ANALYZING})
    held = list(zip(places, made, strict=True))
    for one, rollout in held:
        wait("half of the traffic", lambda o=one, r=rollout: half(o, r), STARTING, every=0.2)
    return held


def services_of(place: Place, count: int) -> list[Service]:
    cluster = place.service.cluster
    names = [f"crowd-{number}" for number in range(count)]
    return [Service.objects.create(name=n, cluster=cluster, replicas=1) for n in names]


def each(
    places: list[Place],
    image: str,
    steps: tuple[StepPlan, ...],
    kinds: Sequence[PlanKind | None],
    phases: set[Phase],
) -> list[Rollout]:
    """A rollout for each, all at the same time. Kind None: the best one."""
    proposed = [propose(p, image, steps, k) for p, k in zip(places, kinds, strict=True)]
    for place, rollout in zip(places, proposed, strict=True):
        reach(rollout, {Phase.AWAITING_APPROVAL}, STARTING)
        approve(place, rollout)
    for rollout in proposed:
        reach(rollout, phases, STARTING)
    return proposed


def half(place: Place, rollout: Rollout) -> bool:
    return published(place, rollout.from_release_id) == 50


def overdue(seconds: float) -> float:
    """The longest that any open rollout waited past its time, watched for so long."""
    ends, worst = time.monotonic() + seconds, 0.0
    while time.monotonic() < ends:
        rows = Rollout.objects.filter(phase__in=OPEN).order_by("look_again")
        first = rows.values_list("look_again", flat=True).first()
        if first is not None:
            worst = max(worst, (timezone.now() - first).total_seconds())
        time.sleep(0.1)
    return worst


@dataclass
class Backs:
    """Seconds until the traffic is back, by the words of a kind."""

    seconds: dict[str, list[float]]
    least_open: int  # rollouts when one of them was aborted


def aborted(held: Held, samples: int) -> Backs:
    """So many of each kind. A few at a time, which are held again before the next few."""
    found = Backs({words: [] for words, _ in WAYS}, len(held))
    while turn := next_few(held, found, samples):
        for words, (place, rollout) in turn:
            found.least_open = min(found.least_open, opened())
            found.seconds[words].append(back_after_abort(place, rollout))
        gone = [one for _, one in turn]
        held = [one for one in held if one not in gone]
        if next_few(held + gone, found, samples):
            held += again(gone)
    return found


def next_few(held: Held, found: Backs, samples: int) -> list[tuple[str, tuple[Place, Rollout]]]:
    """Of each kind that lacks samples those that were held longest, by turns."""
    few = []
    for words, kind in WAYS:
        of_kind = [(words, one) for one in held if one[1].plan_kind == kind]
        missing = samples - len(found.seconds[words])
        few += enumerate(of_kind[: min(max(len(of_kind) // AT_ONCE, 1), missing)])
    return [one for _, one in sorted(few, key=lambda numbered: numbered[0])]


def again(gone: Held) -> Held:
    for place, rollout in gone:
        reach(rollout, {Phase.ROLLED_BACK}, STARTING)
        alone(place, STARTING)
    return holding([p for p, _ in gone], [PlanKind(r.plan_kind) for _, r in gone])


def opened() -> int:
    return Rollout.objects.filter(phase__in=OPEN).count()
