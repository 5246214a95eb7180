"""Looks of gates as pages and the API show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleet.models import GateResult, Rollout
from fleet.rules.gate_limits import told, unusual
from fleet.rules.phases import Phase

LIVE = (Phase.ANALYZING, Phase.AWAITING_STEP_APPROVAL, Phase.PAUSED)


@dataclass(frozen=True, slots=True)
class GateRow:
    """One kept look of a gate, or the latest one of a gate that still collects."""

    step: int
    at: datetime | None  # None: not final yet
    start: datetime
    end: datetime
    verdict: str
    why: str
    checks: tuple[Mapping[str, Any], ...]  # fleet.rules.gates.Check, one each
    evidence: Mapping[str, Any]  # alpha, tests, look, few, shown, sources


class WithLimits:
    """What has `numbers` of a rollout (fleet.rules.proposal.Numbers as JSON): the limits of its
    gates in words.
    """

    numbers: Mapping[str, Any]

    @property
    def limits(self) -> Mapping[str, str]:
        """As they were frozen."""
        return told(self.numbers["limits"]) if "limits" in self.numbers else {}

    @property
    def unusual(self) -> Mapping[str, str]:
        """Those that somebody chose otherwise."""
        return unusual(self.numbers) if "limits" in self.numbers else {}


def gate_row(g: GateResult) -> GateRow:
    bounds = (g.window_start, g.window_end)
    return GateRow(g.step, g.at, *bounds, g.verdict, g.why, tuple(g.checks), g.evidence)


def live_gate(r: Rollout, index: int) -> GateRow | None:
    """What the gate of the present step saw last, while it collects."""
    found = r.memory.get("gate") or {}
    if index != r.step or not found or Phase(r.phase) not in LIVE:
        return None
    start, end = (datetime.fromisoformat(found[k]) for k in ("start", "end"))
    checks, evidence = tuple(found["checks"]), found.get("evidence", {})
    return GateRow(index, None, start, end, found["verdict"], found["why"], checks, evidence)
