"""Plans, rollouts and what is around them as lines of a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from fleet.queries.freezes import FreezeRow
from fleet.queries.plans import Proposal
from fleet.queries.prefetch import PrefetchDetail
from fleet.queries.queue import ClusterQueue
from fleet.queries.rollout_gates import GateRow
from fleet.queries.rollout_harm import Harm
from fleet.queries.rollout_pods import KeptPod, LogRow
from fleet.queries.rollouts import RolloutDetail
from fleet.queries.sequences import SequenceRow
from fleet.rules.counts import counted
from fleet.rules.earliest import Earliest
from fleet.rules.gates import amount
from fleet.rules.peak import load_words
from fleet.rules.plan import Plan
from fleet.rules.situation import Starts
from fleet.rules.step_table import StepLine
from fleet.rules.surge_cost import Hourly, cost_of
from fleet.rules.touching import Touch

EVENTS = 15


def plan_lines(found: Proposal, prices: Mapping[str, Hourly]) -> Iterator[str]:
    """All ways, the proposed one first."""
    yield (
        f"{found.service} {found.from_label or 'nothing'} -> {found.to_label} in {found.cluster},"
        f" {counted(found.replicas, 'replica')}"
    )
    yield from start_lines(found.situation.starts_new)
    for plan, way in zip(found.plans, found.ways, strict=True):
        yield f"{plan.kind}: {plan.answer}"
        yield f"  {plan.why}"
        yield f"  begins: {begins_words(way.earliest)}"
        yield f"  {figures_of(plan, prices)}"
        yield from (f"  {touch_words(touch)}" for touch in way.touches)
        yield from (f"  not known: {text}" for text in plan.unmeasured)
    for change in found.changes:
        yield f"changes {change.name}: {change.before or '-'} -> {change.after or '-'}"
    for check in found.checks:
        yield f"{check.verdict}: {check.name}: {check.text}"


def figures_of(plan: Plan, prices: Mapping[str, Hourly]) -> str:
    cost = cost_of(plan.on_top, plan.finish_seconds, prices)
    currency = next((p.currency for p in prices.values()), "")
    return (
        f"GPUs on top {plan.gpus_on_top}, at least {counted(plan.min_replicas, 'replica')}"
        f" ({plan.min_percent:.0f} %){peak_words(plan)}, finished"
        f" {seconds(plan.finish_seconds)}, traffic back {seconds(plan.traffic_back_seconds)},"
        f" all back {seconds(plan.full_back_seconds)}, cost"
        f" {'not known' if cost is None else f'{cost:.2f} {currency}'.strip()}"
    )


def peak_words(plan: Plan) -> str:
    needs = plan.peak_replicas
    return "" if needs is None else f", the peak needs {load_words(needs)}"


def begins_words(found: Earliest) -> str:
    return f"{found.at:%a %d %b %H:%M} UTC, {found.text}" if found.at else found.text


def touch_words(touch: Touch) -> str:
    lost = f", about {touch.at_risk:,} find no replica" if touch.at_risk else ""
    effect, asked = touch.effect.replace("_", " "), counted(touch.requests, "request")
    return f"{touch.tenant} {touch.traffic_class}, {asked} an hour: {effect}{lost}"


def start_lines(starts: Starts) -> Iterator[str]:
    """Cold starts by release family, node pool and cache state."""
    on = f" on {starts.expected}" if starts.expected else ""
    yield f"cold start{on}: p50 {seconds(starts.p50)}, p95 {seconds(starts.p95)}"
    for g in starts.groups:
        pool, cache = g.node_pool or "no named pool", g.cache or "not known"
        yield (
            f"  {g.of}, {pool}, cache {cache}: {counted(g.samples, 'start')}, p50 {seconds(g.p50)},"
            f" p95 {seconds(g.p95)}"
        )


def seconds(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.0f} s"


def detail_lines(detail: RolloutDetail) -> Iterator[str]:
    """What a page shows besides: who takes part, gates, pods, events, logs, cost."""
    yield from (f"{title}: {names}" for title, names in detail.audience.items())
    yield "limits: " + "; ".join(f"{title} {words}" for title, words in detail.limits.items())
    for step in detail.steps:
        shadow = "shadow of " if step.shadow else ""
        yield f"step {step.number}, {shadow}{step.percent} %: {step.state} {step.why}".rstrip()
        yield from gate_lines(step.gate)
    yield from (line_words(line, detail) for line in detail.table)
    if detail.prefetch:
        yield from prefetch_lines(detail.prefetch)
    yield from map(pod_line, detail.pods)
    for e in detail.cluster_events[:EVENTS]:
        times = f" ({e.count} times)" if e.count > 1 else ""
        yield f"event {e.at:%H:%M:%S} {e.reason} {e.name}: {e.message}{times}"
    for log in detail.logs:
        yield from log_lines(log)
    if cost := detail.cost:
        planned = "not known" if cost.planned is None else f"{cost.planned:.2f}"
        yield f"cost: {cost.spent:.2f} {cost.currency} so far, of {planned} planned"


def line_words(line: StepLine, detail: RolloutDetail) -> str:
    """Of the table of steps: planned, and in brackets as it was."""
    old = detail.old.label if detail.old else "old"
    was = "" if line.new_was is None else f" (was {line.new_was} + {line.old_was})"
    hold = "" if line.hold_seconds is None else f", hold {seconds(line.hold_seconds)}"
    took = "" if line.held_seconds is None else f", took {seconds(line.held_seconds)}"
    got = "" if line.samples is None else f"{line.samples:,} of "
    samples = "" if line.min_samples is None else f", {got}{line.min_samples:,} samples"
    begun = f", {line.begun:%H:%M:%S}" if line.begun else ""
    ended = f" to {line.ended:%H:%M:%S}" if line.ended else ""
    return (
        f"{line.title}, {line.takes_part}: {detail.new.label} {line.new} + {old} {line.old}{was}"
        f"{hold}{took}{samples}: {line.state.replace('_', ' ')}{begun}{ended}"
    )


def gate_lines(gate: GateRow | None) -> Iterator[str]:
    """Each figure of all requests, then what does not pass of single groups, then what is shown."""
    for check in gate.checks if gate else ():
        group = f"{check['group']}: " if check.get("group") else ""
        if not group or check["verdict"] != "pass":
            samples = f"{check['samples']} of {check['needed']} samples"
            yield f"  {group}{check['metric']}: {check['verdict']}, {samples}{figures_in(check)}"
    for shown in gate.evidence.get("shown", ()) if gate else ():
        yield f"  {shown['metric']}: shown{figures_in(shown)}"


def figures_in(found: Mapping[str, Any]) -> str:
    told = ((name, found.get(name)) for name in ("canary", "stable", "limit"))
    return "".join(f", {name} {amount(v, found['unit'])}" for name, v in told if v is not None)


ON_NODE = {
    "done": "there",
    "hub": "in trouble, hub not reachable",
    "commit": "in trouble, no such commit",
    "access": "in trouble, not allowed",
    "failed": "in trouble",
    "disk": "in trouble, disk full",
    "registry": "waiting for the image",
    "place": "waiting for a place",
}


def prefetch_lines(found: PrefetchDetail) -> Iterator[str]:
    if found.skipped:
        yield f"image: {found.skipped}"
    elif found.rows:
        yield f"image on {found.done} of {len(found.nodes)} nodes before anything moved"
    for row in found.rows:
        words = f", weights {ON_NODE.get(row.weights, row.weights)}" if row.weights else ""
        words += f": {row.trouble or row.told}" if row.trouble or row.told else ""
        made = f", pod {row.pod} of {row.made_at:%H:%M:%S}" if row.made_at else ""
        yield f"  {row.node} {row.state} since {row.state_at:%H:%M:%S}{made}{words}"
    yield f"weights {'come with it' if found.weights else 'not prefetched'}: {found.weights_why}"


def pod_line(p: KeptPod) -> str:
    state = (
        "gone" if p.gone else p.trouble or ("starts" if p.start_seconds is None else "took traffic")
    )
    return (
        f"pod {p.name} on {p.node or 'no node'}: {state}, start {seconds(p.start_seconds)},"
        f" {p.restarts} restarts, answers as {p.answered or 'nobody'}"
    )


def log_lines(log: LogRow) -> Iterator[str]:
    run = "before its last restart" if log.previous else "its last run"
    yield f"log {log.id} of {log.pod}, {run}:"
    if log.trouble:
        yield f"  not read: {log.trouble}"
    yield from (f"  | {line}" for line in log.end.splitlines())


def harm_lines(harm: Harm) -> list[str]:
    if harm.start is None:
        return []
    cut = f", {harm.cut} cut mid-stream" if harm.cut else ""
    lines = [f"harm: {harm.requests} requests broken{cut}"]
    lines += [f"  {h.tenant} on {h.release}: {h.ends.requests}" for h in harm.tenants]
    for d in harm.drains:
        known = "?" if d.open_requests is None else d.open_requests
        lines.append(
            f"{d.release} left at {d.since:%H:%M:%S}: last request sent {d.lag_seconds:.1f} s"
            f" later, last answer {d.drain_seconds:.1f} s later; {known} open when it went,"
            f" then {d.served} whole, {d.ends.aborted} aborted, {d.ends.failed} failed,"
            f" {d.ends.hung} hung"
        )
    return lines


def queue_lines(queues: tuple[ClusterQueue, ...]) -> Iterator[str]:
    if not queues:
        yield "No rollout waits for another one"
    for queue in queues:
        yield f"{queue.cluster}:"
        for row in queue.rows:
            on_top = f"{row.gpus} {row.product or 'GPU'}"
            yield f"  {row.label} {row.service} {row.release}, {on_top}: {row.turn} {row.why}"


def freeze_lines(rows: tuple[FreezeRow, ...]) -> Iterator[str]:
    if not rows:
        yield "The change calendar is empty"
    for f in rows:
        yield f"{f.id:>5} {f.state:<8} {f.title}, {f.scope}, {f.when}: {f.reason}"


def sequence_lines(rows: tuple[SequenceRow, ...]) -> Iterator[str]:
    for s in rows:
        yield f"{s.id:>5} {s.service} {s.release}: {s.phase}, wish {s.wish}. {s.why}"
        for stage in s.stages:
            rollout = f" RO-{stage.rollout_id}" if stage.rollout_id else ""
            yield f"      {stage.number} {stage.cluster} {stage.shown}{rollout}: {stage.why}"
            if stage.opens_why:
                at = (
                    f"at the earliest {stage.opens_at:%a %d %b %H:%M} UTC: "
                    if stage.opens_at
                    else ""
                )
                yield f"        begins {at}{stage.opens_why}"
