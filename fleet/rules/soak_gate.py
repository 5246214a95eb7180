"""The gate of the soak. All traffic is on the new release, so it is compared with what the last
gate that passed recorded of the old one. Pure.

Its false alarms are its own: `SOAK_ALPHA` for a whole soak, shared by its looks (see
`alpha_of_look`) and equally by all tests of one look. That is about chance. Traffic itself may have
changed since the baseline, so times have `SPARE` on top of what the steps' gates allow.
"""

from collections.abc import Mapping, Sequence

from fleet.rules.comparison import Group, Window, failures, groups_of, judged
from fleet.rules.gate_limits import GateLimits
from fleet.rules.gates import Check, Look, Reading
from fleet.rules.histogram import Histogram, bucket_of, upper
from fleet.rules.measures import P95
from fleet.rules.phases import Verdict
from fleet.rules.statistics import Table, alpha_of_look, binomial_tail, worse
from fleet.rules.traffic import ReleaseWindow

SOAK_ALPHA = 0.01  # false alarms of a whole soak, of a release like the old one
SOAK_ERRORS = 0.02  # share of failed requests on top of the old release's
SPARE = 1.25
GROWN = 1.1  # looks: whenever the window has grown by a tenth
MOST_GROUPS = 100  # that a baseline is kept of, those with the most requests

Baseline = Mapping[str, Mapping[str, Sequence[float]]]


def baseline_of(window: Window, limits: GateLimits) -> dict[str, dict[str, list[float]]]:
    """Of the old release, by group and metric: requests beyond the limit, all, its own figure, and
    of latencies the bucket of the limit.
    """
    everybody, *parts = groups_of(window)
    alone = [g for g in parts if judged(g.stable) >= limits.fewest]
    largest = sorted(alone, key=lambda g: -judged(g.stable))[: MOST_GROUPS - 1]
    return {g.name: recorded(g.stable, limits) for g in (everybody, *largest)}


def recorded(stable: ReleaseWindow, limits: GateLimits) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    if total := judged(stable):
        bad = failures(stable)
        found["error_ratio"] = [bad, total, bad / total]
    for metric, ratio in (("ttft", limits.ttft_ratio), ("itl", limits.itl_ratio)):
        times: Histogram = getattr(stable, metric)
        value = times.quantile(1 - P95)
        if value is not None and times.total >= limits.fewest:
            at = bucket_of(max(value * ratio * SPARE, value + limits.slack_ms))
            found[f"{metric}_p95"] = [times.count_above(at), times.total, value, at]
    return found


def is_due(window: Window, looked: float) -> bool:
    return window.seconds > 0 and window.seconds >= looked * GROWN


def read_soak(window: Window, baseline: Baseline, limits: GateLimits, look: Look) -> Reading:
    """All, each class and each tenant with enough requests, each against its own baseline."""
    checks: list[Check] = []
    groups = [g for g in groups_of(window) if not g.name or judged(g.canary) >= limits.fewest]
    tests = sum(1 + 2 * (g.name in baseline or not g.name) for g in groups)
    alpha = alpha_of_look(SOAK_ALPHA, look.number) / max(tests, 1)
    for group in groups:
        kept = baseline.get(group.name, {})
        checks.append(errors(group, kept or baseline.get("", {}), limits, alpha))
        checks += [
            times(group, metric, kept[f"{metric}_p95"], limits, alpha)
            for metric in ("ttft", "itl")
            if f"{metric}_p95" in kept
        ]
    failed = [c.why for c in checks if c.verdict is Verdict.FAIL]
    inside = [c.why for c in checks if not c.group]
    return Reading(
        Verdict.FAIL if failed else Verdict.PASS,
        "; ".join(failed or inside),
        tuple(checks),
        window.start,
        window.end,
        alpha=alpha,
        tests=tests,
        look=look,
        sources=window.sources,
    )


def errors(
    group: Group, kept: Mapping[str, Sequence[float]], limits: GateLimits, alpha: float
) -> Check:
    """Where no gate recorded the old release, its errors are taken as none."""
    bad, total = failures(group.canary), judged(group.canary)
    theirs, of, base = kept.get("error_ratio", (0, 0, 0.0))
    ours, limit = bad / total if total else None, base + SOAK_ERRORS
    p = None
    if ours is not None and ours > limit and total >= limits.fewest:
        table = Table(bad, total, int(theirs), int(of))
        p = worse([table], limit) if of else binomial_tail(bad, total, limit)
    shown = "–" if ours is None else f"{ours:.2%}"
    text = f"error ratio {shown} of {total:,}, limit {limit:.2%} (the old release had {base:.2%})"
    return check("error_ratio", "error ratio", group, "share",
                 (ours, base, limit), (total, int(of)), (p, alpha, text))  # fmt: skip


def times(
    group: Group, metric: str, kept: Sequence[float], limits: GateLimits, alpha: float
) -> Check:
    ours: Histogram = getattr(group.canary, metric)
    beyond, of, base, at = int(kept[0]), int(kept[1]), kept[2], int(kept[3])
    value, limit, p = ours.quantile(1 - P95), upper(at), None
    if value is not None and value > limit and ours.total >= limits.fewest:
        p = worse([Table(ours.count_above(at), ours.total, beyond, of)], P95)
    title = f"{metric.upper()} p95"
    shown = "–" if value is None else f"{value:.0f} ms"
    text = f"{title} {shown}, limit {limit:.0f} ms (the old release had {base:.0f} ms)"
    return check(f"{metric}_p95", title, group, "ms",
                 (value, base, limit), (ours.total, of), (p, alpha, text))  # fmt: skip


def check(
    metric: str,
    title: str,
    group: Group,
    unit: str,
    figures: tuple[float | None, float, float],
    samples: tuple[int, int],
    proof: tuple[float | None, float, str],
) -> Check:
    (ours, base, limit), (p, alpha, text) = figures, proof
    failed = p is not None and p <= alpha
    if failed:
        text += f", chance p = {p:.2g}, alarm below {alpha:.2g}"
    return Check(
        metric,
        title,
        group.name,
        unit,
        ours,
        base,
        limit,
        samples[0],
        0,
        samples[1],
        Verdict.FAIL if failed else Verdict.PASS,
        f"{group.name}: {text}" if group.name else text,
        p,
    )
