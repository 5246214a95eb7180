"""What each way of a rollout does to those who use the service. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fleet.rules.plan import Plan

HOUR = 3600


class Effect(StrEnum):
    NONE = "none"
    COLD = "cold_caches"  # of prompts that begin alike
    WAITS = "waits"  # at the peak fewer replicas answer than it needs
    REFUSED = "refused"  # for a time no replica answers


class User(Protocol):
    """Who used the service in the last hour."""

    @property
    def tenant_id(self) -> int: ...
    @property
    def tenant(self) -> str: ...
    @property
    def traffic_class(self) -> str: ...
    @property
    def requests(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Touch:
    """One tenant and traffic class in one way. `at_risk` None: how long was never measured."""

    tenant_id: int
    tenant: str
    traffic_class: str
    requests: int  # in the last hour
    effect: Effect
    at_risk: int | None  # requests that find no replica, at that rate


def touches(plan: Plan, users: Sequence[User], *, caches_change: bool) -> tuple[Touch, ...]:
    effect = effect_of(plan, caches_change=caches_change)
    return tuple(
        Touch(
            user.tenant_id,
            user.tenant,
            user.traffic_class,
            user.requests,
            effect,
            lost(user.requests, plan.gap_seconds),
        )
        for user in users
    )


def effect_of(plan: Plan, *, caches_change: bool) -> Effect:
    if plan.gap_seconds is None or plan.gap_seconds > 0:
        return Effect.REFUSED
    if plan.peak_replicas is not None and plan.min_replicas < plan.peak_replicas:
        return Effect.WAITS
    return Effect.COLD if caches_change else Effect.NONE


def lost(requests: int, gap_seconds: float | None) -> int | None:
    return None if gap_seconds is None else round(requests * gap_seconds / HOUR)
