"""What the page of a plan shows: the ways side by side, with money. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from billing.queries.gpu_prices import HourlyPrice
from fleet.queries.plans import Proposal
from fleet.queries.situations import Touched
from fleet.queries.ways import WayFacts
from fleet.rules.answers import Answer
from fleet.rules.audience import Audience
from fleet.rules.counts import counted
from fleet.rules.peak import load_words
from fleet.rules.phases import PlanKind
from fleet.rules.plan import Plan
from fleet.rules.step_table import StepLine, planned, sizes_of
from fleet.rules.touching import Touch

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
    facts: WayFacts
    short: str
    picked: bool
    open: bool  # can be proposed now, perhaps with consent
    hourly: Decimal | None  # of its GPUs on top. None: no price, or no right to see money
    cost: Decimal | None  # None as well where the time is not known
    peak: str  # replicas that the busiest time needs; empty: not measured
    risk: str  # requests that find no replica


def ways_of(proposal: Proposal, prices: Mapping[str, HourlyPrice]) -> list[Way]:
    return [
        Way(
            plan=plan,
            facts=facts,
            short=SHORT[plan.kind],
            picked=index == 0 and plan.answer in (Answer.POSSIBLE, Answer.QUEUED),
            open=plan.answer not in (Answer.NOT_NOW, Answer.NEVER),
            hourly=(hourly := hourly_of(plan.on_top, prices)),
            cost=cost_of(plan, hourly),
            peak="" if plan.peak_replicas is None else load_words(plan.peak_replicas),
            risk=risk_words(plan.requests_at_risk),
        )
        for index, (plan, facts) in enumerate(zip(proposal.plans, proposal.ways, strict=True))
    ]


def steps_in(proposal: Proposal) -> tuple[StepLine, ...]:
    """Of the way that is best: who takes part is chosen later."""
    best = proposal.plans[0]
    steps = proposal.steps if best.gated else ()
    sizes = sizes_of(best, proposal.situation)
    return planned(sizes, steps, proposal.soak_seconds, Audience())


def risk_words(requests: int | None) -> str:
    """At the present rate."""
    if requests is None:
        return "nobody measured for how long"
    return f"about {counted(requests, 'request')}" if requests else "hardly a request at this rate"


@dataclass(frozen=True, slots=True)
class Touching:
    """One tenant and traffic class across the ways, in the order of the columns."""

    user: Touched
    ways: tuple[tuple[PlanKind, Touch, str], ...]  # with the requests that find no replica


def touching(proposal: Proposal) -> list[Touching]:
    return [
        Touching(user, tuple(touched(way, way.touches[index]) for way in proposal.ways))
        for index, user in enumerate(proposal.touched)
    ]


def touched(way: WayFacts, touch: Touch) -> tuple[PlanKind, Touch, str]:
    return way.kind, touch, risk_words(touch.at_risk)


def hourly_of(gpus: Mapping[str, int], prices: Mapping[str, HourlyPrice]) -> Decimal | None:
    """What these GPUs cost in an hour; None where one of them has no price."""
    if not prices or gpus.keys() - prices.keys():
        return None
    return sum((n * prices[product].hourly for product, n in gpus.items()), Decimal(0))


def lines_of(prices: Mapping[str, HourlyPrice]) -> list[tuple[str, HourlyPrice]]:
    """The lines of node prices that the GPUs on top are priced by, as they are written."""
    return [(line.text, price) for price in prices.values() for line in price.lines]


def cost_of(plan: Plan, hourly: Decimal | None) -> Decimal | None:
    if hourly is None or plan.finish_seconds is None:
        return None
    return Decimal(str(plan.finish_seconds)) / HOUR * hourly


def tenants_in(touched: Iterable[Touched]) -> str:
    """Their names, once each, those with the most requests first."""
    names = list(dict.fromkeys(t.tenant for t in touched))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def classes_in(touched: Iterable[Touched]) -> str:
    """ "interactive 1,200 and batch 40 requests in the last hour", the busiest first."""
    sums: Counter[str] = Counter()
    for one in touched:
        sums[one.traffic_class] += one.requests
    told = [f"{name} {n:,}" for name, n in sums.most_common()]
    requests = "request" if sums.total() == 1 else "requests"
    return f"{' and '.join(told)} {requests} in the last hour"
