"""What the page of a rollout shows, made from its detail: steps, timeline, charts. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing.queries.gpu_prices import HourlyPrice
from console import figures
from console.charts import Chart, Series, line_chart
from console.plan_page import hourly_of
from console.words import word
from fleet.queries.rollout_steps import StepRow
from fleet.queries.rollout_traffic import Point
from fleet.queries.rollouts import EventRow, ReleaseSide, RolloutDetail
from fleet.rules.audience import DIVIDED
from fleet.rules.phases import Phase

STEP_LOOK = {
    "passed": ("done", "circle-check", "passed"),
    "skipped": ("done", "circle-check", "gate skipped"),
    "failed": ("bad", "circle-x", "failed"),
    "now": ("now", "progress", "now"),
    "next": ("todo", "circle", "next"),
    "not_reached": ("todo", "circle-minus", "not reached"),
}
BEFORE_STEPS = (
    Phase.VALIDATING,
    Phase.AWAITING_APPROVAL,
    Phase.PREPARING,
    Phase.CANARY_STARTING,
    Phase.CANARY_VERIFYING,
)


@dataclass(frozen=True, slots=True)
class Dot:
    """One dot of the line of steps."""

    css: str
    icon: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline; without a time it lies ahead."""

    at: datetime | None
    css: str
    icon: str
    icon_css: str
    title: str
    text: str


def dots(detail: RolloutDetail) -> list[Dot]:
    """Canary, each step, 100 %, soak: where the rollout is in one line."""
    phase = Phase(detail.rollout.phase)
    first = canary_dot(detail, phase)
    middle = [step_dot(step, detail) for step in detail.steps]
    return [first, *middle, last_dot(phase, Phase.PROMOTING, "100 %"),
            last_dot(phase, Phase.SOAKING, "Soak")]  # fmt: skip


def canary_dot(detail: RolloutDetail, phase: Phase) -> Dot:
    text = f"{detail.new.serving} of {detail.new.wanted} ready"
    if phase in BEFORE_STEPS:
        moving = phase not in (Phase.VALIDATING, Phase.AWAITING_APPROVAL)
        css, icon = ("now", "progress") if moving else ("todo", "circle")
        return Dot(css, icon, "First replicas", word("phase", phase).text.lower())
    met = [s for s in detail.steps if not s.shadow]
    if met and all(s.state == "not_reached" for s in met):
        return Dot("bad", "circle-x", "First replicas", "never took traffic")
    return Dot("done", "circle-check", "First replicas", text)


def step_dot(step: StepRow, detail: RolloutDetail) -> Dot:
    css, icon, text = STEP_LOOK[step.state]
    gate = step.gate
    if step.state == "next" and detail.table and detail.old:
        line = detail.table[step.number]
        return Dot(
            css,
            icon,
            name_of(step),
            f"{detail.new.label} {line.new}, {detail.old.label} {line.old}",
        )
    if step.state == "now" and gate and gate.checks:
        needed = [c for c in gate.checks if c["needed"] and not c.get("group")]
        share = min((c["samples"] / c["needed"] for c in needed), default=1.0)
        text = f"samples {figures.percent(min(share, 1), 0)}"
    elif gate and gate.at and step.state in ("passed", "failed"):
        text = f"{text} {gate.at:%H:%M}"
    return Dot(css, icon, name_of(step), text)


def samples_in(count: int) -> str:
    return f"{count:,} sample{'s' * (count != 1)}"


def name_of(step: StepRow) -> str:
    return f"Shadow {step.percent} %" if step.shadow else f"{step.percent} %"


def last_dot(phase: Phase, own: Phase, title: str) -> Dot:
    order = [Phase.PROMOTING, Phase.SOAKING, Phase.SUCCEEDED]
    if phase is own:
        return Dot("now", "progress", title, "now")
    if phase in order and order.index(phase) > order.index(own):
        return Dot("done", "circle-check", title, "passed")
    return Dot("todo", "circle", title, "")


def share_chart(
    points: Sequence[Point], timeline: Sequence[EventRow], label: str, until: datetime | None
) -> Chart:
    """Observed share of the new release, counted from answers, beside the weight that was set."""
    observed = [None if p.share is None else 100 * p.share for p in points]
    wanted = [float(weight_at(timeline, p.at)) for p in points]
    copied = [
        100 * p.copies / p.requests_old if p.copies and p.requests_old else None for p in points
    ]
    return line_chart(
        "share",
        f"Traffic to {label}",
        [p.at for p in points],
        [
            Series("observed", observed, "c1", "solid", fill=True),
            Series("wanted", wanted, "c7", "dash", step=True),
            *([Series("copied to the shadow", copied, "c2")] if any(copied) else []),
        ],
        unit="% of answers",
        until=until,
        digits=1,
    )


def weight_at(timeline: Iterable[EventRow], at: datetime) -> int:
    weight = 0
    for event in timeline:
        if event.at <= at and "weight_new" in event.detail:
            weight = int(event.detail["weight_new"])
    return weight


def moments(detail: RolloutDetail) -> list[Moment]:
    """What happened, what happens now, and what is still ahead."""
    r = detail.rollout
    events = list(detail.timeline)
    if events and events[-1].phase == r.phase and not events[-1].actor:
        events.pop()  # the last line says the same, as it is now
    past = [moment_of(e) for e in events]
    now = word("phase", r.phase)
    if r.is_open:
        title = f"{now.text}{step_title(detail)}"
        past.append(Moment(r.phase_since, "now", now.icon, "i-now", title, r.why))
        return past + ahead(detail)
    css = "failed" if r.cause else ""
    icon_css = {"ok": "", "warn": "i-warn", "bad": "i-bad"}.get(now.tone, "i-todo")
    past.append(Moment(r.ended_at, css, now.icon, icon_css, now.text, r.why))
    return past


def moment_of(event: EventRow) -> Moment:
    said = word("phase", event.phase)
    if event.actor:
        who = event.actor.split("@")[0]
        return Moment(event.at, "", "user", "i-who", who, event.why)
    css = {"warn": "i-warn", "bad": "i-bad"}.get(said.tone, "")
    return Moment(event.at, "", said.icon if css else "circle-check", css, said.text, event.why)


def step_title(detail: RolloutDetail) -> str:
    r = detail.rollout
    if r.phase in DIVIDED and r.steps:
        share = f"shadow of {r.shadow} %" if r.shadow else f"{r.percent} %"
        return f", step {r.step + 1} of {r.steps}: {share}"
    return ""


def ahead(detail: RolloutDetail) -> list[Moment]:
    phase = Phase(detail.rollout.phase)
    if phase in (Phase.ABORTING, Phase.ROLLING_BACK, Phase.ROLLBACK_BLOCKED):
        back = detail.old.label if detail.old else "nothing"
        return [Moment(None, "todo", "flag", "i-todo", "Rolled back", f"All traffic on {back}")]
    steps = [
        Moment(
            None, "todo", "circle", "i-todo", f"Step {s.number}: {name_of(s)}",
            f"Holds {figures.duration(s.hold_seconds)}, {samples_in(s.min_samples)}",
        )
        for s in detail.steps
        if s.state == "next"
    ]  # fmt: skip
    rest = []
    if phase is not Phase.SOAKING:
        soak = figures.duration(detail.numbers.get("soak_seconds"))
        rest = [Moment(None, "todo", "circle", "i-todo", f"100 %, then soak {soak}", "")]
    end = f"{detail.new.label} serves; the way back stays a rollout"
    return [*steps, *rest, Moment(None, "todo", "flag", "i-todo", "Succeeded", end)]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the GPUs on top of what ran before, from the first write on."""

    so_far: Decimal
    currency: str
    gpus: dict[str, int]  # by product
    length: timedelta
    hourly: Decimal  # of all of them


def on_top(detail: RolloutDetail) -> dict[str, int]:
    """GPUs on top by product; plans from before products were told apart know one."""
    whole = [{"product": detail.numbers.get("product", ""), "gpus": detail.plan.get("gpus_on_top")}]
    rows = detail.plan.get("products") or whole
    return {row["product"]: int(row["gpus"] or 0) for row in rows if row["gpus"]}


def cost_of(detail: RolloutDetail, prices: Mapping[str, HourlyPrice], now: datetime) -> Cost | None:
    """None where nothing came on top, nothing was written, or nobody set a price."""
    gpus, since = on_top(detail), detail.rollout.started_at
    hourly = hourly_of(gpus, prices)
    if hourly is None or since is None or not gpus or detail.old is None:
        return None
    length = (detail.rollout.ended_at or now) - since
    hours = Decimal(length / timedelta(hours=1))
    currency = next(iter(prices.values())).currency
    return Cost(hours * hourly, currency, gpus, length, hourly)


def way_back(detail: RolloutDetail) -> tuple[str, str]:
    """A short answer and its reason."""
    phase, old = Phase(detail.rollout.phase), detail.old
    if detail.traffic_back_seconds is not None:
        took = figures.duration(detail.traffic_back_seconds)
        return took, "measured: from the abort to all traffic on the old release"
    if phase is Phase.SUCCEEDED:
        return "A rollout", f"to {old.label}, without approval" if old else "nothing served before"
    if old is None:
        return "None", "nothing served before this release"
    return back_of(old, detail)


def back_of(old: ReleaseSide, detail: RolloutDetail) -> tuple[str, str]:
    before = int(detail.numbers.get("old_replicas") or old.wanted or 1)
    if old.serving >= before:
        return "Seconds", f"{old.label} was never stopped: {old.serving} of {before} ready"
    if old.serving:
        return "Seconds, smaller", f"{old.serving} of {before} replicas of {old.label} are left"
    full = detail.plan.get("full_back_seconds")
    return figures.duration(full) if full else "Not measured", f"{old.label} must start again"
