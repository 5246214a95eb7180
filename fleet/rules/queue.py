"""Rollouts of a cluster whose GPUs do not suffice for two at once: one after the other. Pure.

An order by age, as people proposed them, is what they can follow and nobody can jump. Those that
began already give back what they hold on top; those before us will take it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.rules.answers import Answer, Quota, Verdict, judge, quota_used_up
from fleet.rules.fit import Need, NodeRoom, fit, gpus_of


@dataclass(frozen=True, slots=True)
class Ahead:
    """Another open rollout of the cluster that comes first."""

    name: str  # RO-5 of chat-large
    needs: tuple[Need, ...]  # GPUs on top, of each product
    began: bool  # it holds them, and gives them back at its end
    ends: datetime | None = None  # as expected, of one that began
    takes: timedelta | None = None  # as expected, from its beginning to its end


def claims_of(ahead: Iterable[Ahead]) -> list[Need]:
    """GPUs that are free and that others will take."""
    return [need for other in ahead if not other.began for need in other.needs]


def turn(
    nodes: Sequence[NodeRoom],
    needs: Sequence[Need],
    quotas: Sequence[Quota],
    ahead: Sequence[Ahead],
) -> Verdict:
    """POSSIBLE now, QUEUED behind those that are named, or what stays when they are over."""
    claims = claims_of(ahead)
    answer, why = judge(needs, [fit(nodes, need, claims) for need in needs], quotas)
    if answer is not Answer.NOT_NOW:
        return answer, why
    alone = [fit(nodes, need) for need in needs]
    later, stays = judge(needs, alone, quotas)
    same = [a for a in ahead if alike(a.needs, needs)]
    held = [need for a in same if a.began for need in a.needs]
    released = [
        Quota(q.name, q.hard, max(q.used - q.of(gpus_of(held)), 0), q.product) for q in quotas
    ]
    short = any(
        need.total - room.places * need.gpus > sum(h.total for h in held if shared(h, need))
        for need, room in zip(needs, alone, strict=True)
    )
    if later is Answer.NOT_NOW and (short or quota_used_up(gpus_of(needs), released)):
        return later, stays
    return Answer.QUEUED, f"{why}. It waits for {listed([a.name for a in same])}"


def alike(some: Sequence[Need], others: Sequence[Need]) -> bool:
    """They want GPUs of the same product."""
    return any(shared(one, other) for one in some for other in others)


def shared(one: Need, other: Need) -> bool:
    return not one.product or not other.product or one.product == other.product


def waits(
    nodes: Sequence[NodeRoom],
    needs: Sequence[Need],
    quotas: Sequence[Quota],
    ahead: Sequence[Ahead],
) -> str:
    """Why a rollout does not begin yet. Empty: it is its turn, or waiting would not help."""
    if not any(need.replicas for need in needs):
        return ""
    answer, why = turn(nodes, needs, quotas, ahead)
    return why if answer is Answer.QUEUED else ""


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
