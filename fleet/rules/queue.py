"""Rollouts of a cluster whose GPUs do not suffice for two at once: one after the other. Pure.

An order by age, as people proposed them, is what they can follow and nobody can jump. Those that
began already give back what they hold on top; those before us will take it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.rules.answers import Answer, Quota, Verdict, judge, quota_used_up
from fleet.rules.fit import Need, NodeRoom, fit


@dataclass(frozen=True, slots=True)
class Ahead:
    """Another open rollout of the cluster that comes first."""

    name: str  # RO-5 of chat-large
    need: Need  # GPUs on top
    began: bool  # it holds them, and gives them back at its end


def turn(
    nodes: Sequence[NodeRoom], need: Need, quotas: Sequence[Quota], ahead: Sequence[Ahead]
) -> Verdict:
    """POSSIBLE now, QUEUED behind those that are named, or what stays when they are over."""
    answer, why = judge(need, fit(nodes, need, [a.need for a in ahead if not a.began]), quotas)
    if answer is not Answer.NOT_NOW:
        return answer, why
    alone = fit(nodes, need)
    later, stays = judge(need, alone, quotas)
    same = [a for a in ahead if not need.product or a.need.product in ("", need.product)]
    back = sum(a.need.total for a in same if a.began)
    released = [Quota(q.name, q.hard, max(q.used - back, 0)) for q in quotas]
    missing = need.total - alone.places * need.gpus
    if later is Answer.NOT_NOW and (missing > back or quota_used_up(need, released)):
        return later, stays
    return Answer.QUEUED, f"{why}. It waits for {listed([a.name for a in same])}"


def waits(
    nodes: Sequence[NodeRoom], need: Need, quotas: Sequence[Quota], ahead: Sequence[Ahead]
) -> str:
    """Why a rollout does not begin yet. Empty: it is its turn, or waiting would not help."""
    if not need.replicas:
        return ""
    answer, why = turn(nodes, need, quotas, ahead)
    return why if answer is Answer.QUEUED else ""


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
