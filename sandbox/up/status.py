"""What is going on, for the terminal, for up.json and for the console's overview."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WAITING, RUNNING, DONE, FAILED, SKIPPED = "waiting", "running", "done", "failed", "skipped"
ENDED = (DONE, FAILED, SKIPPED)


@dataclass
class Stage:
    """One line of the progress. `weight` is about how many seconds it takes the first time."""

    name: str
    label: str
    weight: float
    state: str = WAITING
    percent: float = 0.0
    text: str = ""
    started: float | None = None  # seconds since the epoch
    ended: float | None = None

    def begin(self, now: float) -> None:
        self.state, self.started, self.percent = RUNNING, now, 0.0

    def end(self, state: str, now: float, text: str | None = None) -> None:
        self.state, self.ended = state, now
        self.started = self.started or now
        self.percent = 100.0 if state in (DONE, SKIPPED) else self.percent
        self.text = self.text if text is None else text

    def elapsed(self, now: float) -> float:
        if self.started is None:
            return 0.0
        return (self.ended or now) - self.started


@dataclass
class Status:
    stages: list[Stage]
    answers: bool = False  # the console does
    facts: dict[str, Any] = field(default_factory=dict)  # addresses and credentials
    notes: dict[str, str] = field(default_factory=dict)  # what is not as one might expect

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    @property
    def state(self) -> str:
        if any(stage.state == FAILED for stage in self.stages):
            return "failed"
        if all(stage.state in ENDED for stage in self.stages):
            return "ready"
        return "building" if self.answers else "starting"

    @property
    def current(self) -> Stage | None:
        """The stage to show: the first that runs, else the one that failed."""
        for state in (RUNNING, FAILED):
            for stage in self.stages:
                if stage.state == state:
                    return stage
        return None

    @property
    def percent(self) -> int:
        whole = sum(stage.weight for stage in self.stages)
        done = sum(stage.weight * stage.percent / 100 for stage in self.stages)
        return 100 if self.state == "ready" else min(99, int(100 * done / whole))

    @property
    def why(self) -> str | None:
        """The sentences on what failed, then those on what is otherwise worth knowing."""
        failed = [f"{stage.label}: {stage.text}" for stage in self.stages if stage.state == FAILED]
        return " ".join([*failed, *self.notes.values()]) or None

    def document(self, now: float) -> dict[str, Any]:
        current = self.current
        stages = [self._row(stage, now) for stage in self.stages]
        return {
            "state": self.state,
            "stage": current.label if current else self.state,
            "percent": self.percent,
            "why": self.why,
            **self.facts,
            "at": now,
            "stages": stages,
        }

    def _row(self, stage: Stage, now: float) -> Mapping[str, Any]:
        return {
            "name": stage.name,
            "label": stage.label,
            "state": stage.state,
            "percent": int(stage.percent),
            "text": stage.text,
            "started": stage.started,
            "elapsed": round(stage.elapsed(now), 1),
        }
