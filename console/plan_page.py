"""What the page of a plan shows: the ways side by side, with money. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from billing.queries.gpu_prices import HourlyPrice
from fleet.queries.plans import Proposal
from fleet.queries.situations import Touched
from fleet.rules.answers import Answer
from fleet.rules.phases import PlanKind
from fleet.rules.plan import Plan

SHORT = {
    PlanKind.SURGE_CANARY: "Some new replicas beside the old ones, traffic moves by weight",
    PlanKind.BLUE_GREEN: "All new replicas beside all old ones, which stay warm afterwards",
    PlanKind.REPLACE: "One old replica out, one new one in, again and again",
    PlanKind.RECREATE: "All old replicas out, then all new ones in",
}
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Way:
    """One column: a plan, in how few words it moves, and what its GPUs on top cost."""

    plan: Plan
    short: str
    picked: bool
    open: bool  # can be proposed now, perhaps with consent
    cost: Decimal | None  # None: no price, no right to see money, or the time is not known


def ways_of(proposal: Proposal, price: HourlyPrice | None) -> list[Way]:
    return [
        Way(
            plan=plan,
            short=SHORT[plan.kind],
            picked=index == 0 and plan.answer in (Answer.POSSIBLE, Answer.QUEUED),
            open=plan.answer not in (Answer.NOT_NOW, Answer.NEVER),
            cost=cost_of(plan, price),
        )
        for index, plan in enumerate(proposal.plans)
    ]


def cost_of(plan: Plan, price: HourlyPrice | None) -> Decimal | None:
    """GPU-hours on top times the price of an hour."""
    if price is None or plan.gpu_seconds_on_top is None:
        return None
    return Decimal(str(plan.gpu_seconds_on_top)) / HOUR * price.hourly


def tenants_in(touched: Iterable[Touched]) -> str:
    """Their names, once each, those with the most requests first."""
    names = list(dict.fromkeys(t.tenant for t in touched))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
