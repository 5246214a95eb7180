"""Many rollouts open at once, each holding half of its service's traffic. Imported after set-up."""

import time
from dataclasses import replace

from django.utils import timezone

from bench.rollouts.waiting import wait
from bench.rollouts.walk import HELD, Place, approve, back_after_abort, propose, published, reach
from fleet.actions.waking import OPEN
from fleet.models import Rollout, Service
from fleet.rules.phases import Phase, PlanKind

WAYS = (("surge", PlanKind.SURGE_CANARY), ("blue-green", PlanKind.BLUE_GREEN))
STARTING = 900.0  # seconds for two engines a rollout, on few cores


def fill(place: Place, count: int) -> list[tuple[Place, Rollout]]:
    """As many services with a release that serves and one that has half of the traffic."""
    places = [
        replace(place, service=made, number=1000 * (number + 1))
        for number, made in enumerate(services_of(place, count))
    ]
    each(places, "standin-0.32", (), {Phase.SUCCEEDED})
    held = list(zip(places, each(places, "standin-0.32.1", HELD, {Phase.ANALYZING}), strict=True))
    for one, rollout in held:
        wait("half of the traffic", lambda o=one, r=rollout: half(o, r), STARTING, every=0.2)
    return held


def services_of(place: Place, count: int) -> list[Service]:
    cluster = place.service.cluster
    names = [f"crowd-{number}" for number in range(count)]
    return [Service.objects.create(name=n, cluster=cluster, replicas=1) for n in names]


def each(places: list[Place], image: str, steps, phases: set[Phase]) -> list[Rollout]:
    """A rollout for each, all at the same time, by turns of one kind and of the other."""
    kinds = [WAYS[n % 2][1] if steps else None for n in range(len(places))]
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


def aborted(held: list[tuple[Place, Rollout]], kind: PlanKind, runs: int) -> list[float]:
    """Seconds until the traffic is back, of a few of this kind among all that stay open."""
    of_kind = [(place, rollout) for place, rollout in held if rollout.plan_kind == kind]
    return [back_after_abort(place, rollout) for place, rollout in of_kind[:runs]]
