"""Who takes part in a canary: some go first, some not before the end. Frozen at the proposal.

Those who go first have the first step for themselves, in its share, and the shadow steps before
it; from the next step on all take part except those left out, who meet the new release when every
gate has passed. Whoever takes no part is not copied to a shadow either.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fleet.rules.phases import Phase, PlanKind
from gateway.contract.outcomes import TrafficClass
from gateway.contract.routing import Canary

# Steps; a pause keeps where it came from.
DIVIDED = frozenset({Phase.SHIFTING, Phase.ANALYZING, Phase.AWAITING_STEP_APPROVAL})
# Here the old release gives its GPUs to the new one before all traffic has moved.
SHRINKING = frozenset({PlanKind.REPLACE, PlanKind.RECREATE})
STICKY = DIVIDED | {Phase.CANARY_STARTING, Phase.CANARY_VERIFYING, Phase.PROMOTING}


@dataclass(frozen=True, slots=True)
class Named:
    """A tenant, or an application of one."""

    id: int
    name: str  # acme, acme/chat
    tenant_id: int


@dataclass(frozen=True, slots=True)
class Asked:
    """As a person names them."""

    first: Sequence[str] = ()  # tenants (acme) and applications (acme/chat)
    first_classes: Sequence[str] = ()
    last: Sequence[str] = ()  # tenants


@dataclass(frozen=True, slots=True)
class Audience:
    first_tenants: tuple[Named, ...] = ()
    first_applications: tuple[Named, ...] = ()
    first_classes: tuple[str, ...] = ()
    last_tenants: tuple[Named, ...] = ()
    alone: int = 1  # steps of those who go first: the shadows, and one with traffic

    @property
    def has_first(self) -> bool:
        return bool(self.first_tenants or self.first_applications or self.first_classes)

    def __bool__(self) -> bool:
        return self.has_first or bool(self.last_tenants)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) if self else {}

    def goes_alone(self, step: int) -> bool:
        return self.has_first and step < self.alone

    def takes_part(
        self, step: int, tenant_id: int, traffic_class: str, application_id: int = 0
    ) -> bool:
        """`application_id`: one of those that go first; 0: any other one of the tenant."""
        if any(t.id == tenant_id for t in self.last_tenants):
            return False
        if not self.goes_alone(step):
            return True
        return (
            traffic_class in self.first_classes
            or any(t.id == tenant_id for t in self.first_tenants)
            or any(a.id == application_id for a in self.first_applications)
        )

    def words(self, step: int) -> str:
        """After "10 % of the traffic"; empty where all take part."""
        if self.goes_alone(step):
            return f" of {listed(self.first_words())}"
        if self.last_tenants:
            return f" of all but {listed(t.name for t in self.last_tenants)}"
        return ""

    def first_words(self) -> list[str]:
        named = [n.name for n in (*self.first_tenants, *self.first_applications)]
        return named + [f"class {c}" for c in self.first_classes]

    def told(self) -> dict[str, str]:
        """For people: who goes when."""
        found = {}
        if self.has_first:
            which = "First step" if self.alone == 1 else f"First {self.alone} steps"
            found[f"{which} only for"] = listed(self.first_words())
        if self.last_tenants:
            found["Not before all gates passed"] = listed(t.name for t in self.last_tenants)
        return found


def listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def audience_from(stored: Mapping[str, Any]) -> Audience:
    def named(key: str) -> tuple[Named, ...]:
        return tuple(Named(**n) for n in stored.get(key, ()))

    return Audience(
        named("first_tenants"),
        named("first_applications"),
        tuple(stored.get("first_classes", ())),
        named("last_tenants"),
        stored.get("alone", 1),
    )


def refuse_audience(audience: Audience, kind: PlanKind, steps: int) -> str:
    """Why nobody can go first or last in this plan. Empty: they can."""
    if not audience:
        return ""
    named = {n.tenant_id: n.name for n in (*audience.first_tenants, *audience.first_applications)}
    both = [t.name for t in audience.last_tenants if t.id in named]
    if both:
        return f"{both[0]} cannot go first and be left out until the end"
    if kind in SHRINKING:
        return (
            "Who goes first or last needs both releases in full, as in a surge canary: in place,"
            " those who stay with the old release would share what is left of it"
        )
    if audience.has_first and steps <= audience.alone:
        alone = "first step" if audience.alone == 1 else f"first {audience.alone} steps"
        missing = audience.alone + 1 - steps
        return (
            f"Those who go first have the {alone} for themselves, and the plan has {steps}:"
            f" give it {'one' if missing == 1 else missing} more for all others"
        )
    if not steps:
        return "The plan has no step: everybody meets the new release at once"
    return ""


def canary_of(
    rollout_id: int,
    release_id: int,
    phase: Phase,
    step: int,
    audience: Audience,
    shadow: int = 0,
) -> Canary | None:
    """What gateways must know. After the steps all take part: the old release shrinks then.

    `shadow`: percent of the requests that the present step copies.
    """
    if phase not in STICKY:
        return None
    if phase not in DIVIDED:
        return Canary(rollout_id=rollout_id, release_id=release_id)
    alone = audience.goes_alone(step)
    return Canary(
        rollout_id=rollout_id,
        release_id=release_id,
        only_tenants=tuple(t.id for t in audience.first_tenants) if alone else (),
        only_applications=tuple(a.id for a in audience.first_applications) if alone else (),
        only_classes=tuple(TrafficClass(c) for c in audience.first_classes) if alone else (),
        never_tenants=tuple(t.id for t in audience.last_tenants),
        shadow_percent=shadow,
    )
