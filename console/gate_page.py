"""The gate of a rollout's page: each figure with its chart, and all of them as a table. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console import figures
from console.charts import Chart, Series, line_chart
from fleet.queries.rollout_gates import GateRow
from fleet.queries.rollout_traffic import Point


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure of gates that is drawn over time: `read` names it in a point."""

    title: str
    read: str
    unit: str = "%"


DRAWN = {
    "error_ratio": Drawn("Error ratio", "errors"),
    "ttft_p95": Drawn("TTFT p95", "ttft", "ms"),
    "itl_p95": Drawn("ITL p95", "itl", "ms"),
    "gpu_p50": Drawn("Tokens per GPU-second", "gpu", "tokens/GPU-s"),
    "length": Drawn("Ended at the token limit", "length"),
    "aborted": Drawn("Given up by the engine", "aborted"),
    "refused": Drawn("Refused by the engine", "refused"),
    "preemptions": Drawn("Preemptions a request", "preempted", "a request"),
    "cache_hits": Drawn("Prompt tokens from the cache", "cached"),
}


MAIN = ("error_ratio", "ttft_p95", "itl_p95")  # drawn without a sample, too


@dataclass(frozen=True, slots=True)
class Gate:
    """One check of a gate in words, with its chart."""

    title: str
    verdict: str
    canary: str
    stable: str
    limit: str
    samples: int
    needed: int
    p: str
    chart: Chart

    @property
    def fill(self) -> str:
        return "ok" if self.samples >= self.needed else "info"


def gates(gate: GateRow | None, points: Sequence[Point]) -> list[Gate]:
    """The figures of all requests in one look, each beside its history; judged ones first."""
    if gate is None:
        return []
    found = {c["metric"]: c for c in gate.checks if not c.get("group")}
    found |= {s["metric"]: s for s in gate.evidence.get("shown", ())}
    drawn = [found[m] for m in DRAWN if m in found and (m in MAIN or is_told(found[m]))]
    drawn.sort(key=lambda c: "verdict" not in c)
    return [gate_of(check, points) for check in drawn]


def is_told(figure: Mapping[str, Any]) -> bool:
    return figure.get("canary") is not None or figure.get("stable") is not None


def gate_of(check: Mapping[str, Any], points: Sequence[Point]) -> Gate:
    metric, unit = check["metric"], check["unit"]
    limit = check.get("limit")
    return Gate(
        title=DRAWN[metric].title,
        verdict=check.get("verdict", "shown"),
        canary=figure(check.get("canary"), unit),
        stable=figure(check.get("stable"), unit),
        limit=limit_words(check),
        samples=check.get("samples", 0),
        needed=check.get("needed", 0),
        p=chance(check.get("p")) if "verdict" in check else figures.MISSING,
        chart=gate_chart(metric, points, limit),
    )


def limit_words(check: Mapping[str, Any]) -> str:
    """A floor is "at least"."""
    if "verdict" not in check:
        return "none: shown only"
    if check.get("limit") is None:
        return "not known yet"
    return f"{'≥' if check.get('is_floor') else '≤'} {figure(check['limit'], check['unit'])}"


@dataclass(frozen=True, slots=True)
class Line:
    """One test of a gate, or a figure that is shown beside them, as a row."""

    group: str
    title: str
    verdict: str
    canary: str
    stable: str
    limit: str
    samples: str  # canary, stable
    p: str
    why: str


def lines(gate: GateRow) -> list[Line]:
    """All tests, those that matter first, then what is shown only."""
    order = {"fail": 0, "inconclusive": 1}
    checks = sorted(gate.checks, key=lambda c: order.get(c["verdict"], 2))
    return [*map(line_of, checks), *map(shown_line, gate.evidence.get("shown", ()))]


def line_of(check: Mapping[str, Any]) -> Line:
    unit, limit = check["unit"], check.get("limit")
    title = check.get("title") or check["metric"]
    return Line(
        check.get("group") or "all requests",
        title[:1].upper() + title[1:],
        check["verdict"],
        figure(check.get("canary"), unit),
        figure(check.get("stable"), unit),
        figures.MISSING if limit is None else limit_words(check),
        f"{check['samples']:,} · {check['stable_samples']:,}",
        chance(check.get("p")),
        "",
    )


def shown_line(found: Mapping[str, Any]) -> Line:
    unit, title = found["unit"], found["title"]
    return Line(
        "all requests",
        title[:1].upper() + title[1:],
        "shown",
        figure(found["canary"], unit),
        figure(found["stable"], unit),
        figures.MISSING,
        figures.MISSING,
        figures.MISSING,
        found["why"],
    )


def terms_of(gate: GateRow) -> str:
    """How false alarms are kept rare. Empty where an older program judged."""
    e = gate.evidence
    if not e.get("tests"):
        return ""
    return (
        "p is the chance that noise alone brings a figure so far beyond its limit; inside the"
        f" limit it is not computed. An alarm needs p of at most {e['alpha']:.2g}: 5 % for the"
        f" whole rollout, shared by its gates ({e['gates']}), the looks of each (this is look"
        f" {e['look']}) and the tests of a look ({e['tests']})."
    )


def chance(p: float | None) -> str:
    return "inside limit" if p is None else f"{p:.2g}"


def gate_chart(metric: str, points: Sequence[Point], limit: float | None) -> Chart:
    drawn = DRAWN[metric]
    factor = 100 if drawn.unit == "%" else 1

    def values(side: str) -> list[float | None]:
        read = [getattr(p, f"{drawn.read}_{side}") for p in points]
        return [None if v is None else v * factor for v in read]

    return line_chart(
        f"gate-{metric.replace('_', '-')}",
        drawn.title,
        [p.at for p in points],
        [Series("stable", values("old"), "c1", "dash"), Series("canary", values("new"), "c2")],
        unit=drawn.unit,
        limit=None if limit is None else ("limit", limit * factor),
    )


def figure(value: float | None, unit: str) -> str:
    if value is None:
        return figures.MISSING
    if unit in ("tokens", "number", "rate"):
        digits = {"tokens": 0, "number": 3, "rate": 1}[unit]
        return f"{value:,.{digits}f}"
    return figures.percent(value, 2) if unit in ("share", "ratio") else figures.milliseconds(value)
