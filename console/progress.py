"""How far the set-up of this installation is, as the supervisor of `make up` writes it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

STALE_SECONDS = 30
STATES = ("starting", "building", "ready", "failed")


@dataclass(frozen=True, slots=True)
class Stage:
    label: str
    state: str  # waiting, running, done, failed, skipped
    percent: int
    text: str
    elapsed: float  # seconds


@dataclass(frozen=True, slots=True)
class Progress:
    """Credentials of the file are left where they are: a page has no use for them."""

    state: str
    stage: str
    percent: int
    why: str
    stages: tuple[Stage, ...]
    at: datetime

    @property
    def is_over(self) -> bool:
        return self.state == "ready"

    def is_stale(self, now: datetime) -> bool:
        return (now - self.at).total_seconds() > STALE_SECONDS


def read_progress(path: Path | None) -> Progress | None:
    """None without a supervisor, or while its file is not there."""
    if path is None:
        return None
    try:
        document = json.loads(path.read_text())
        return parse(document)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the page does without; the terminal of `make up` says what is wrong


def parse(document: dict[str, Any]) -> Progress:
    if document["state"] not in STATES:
        raise ValueError(f"unknown state {document['state']!r}")
    return Progress(
        state=document["state"],
        stage=str(document.get("stage") or ""),
        percent=max(0, min(100, int(document.get("percent") or 0))),
        why=str(document.get("why") or ""),
        stages=tuple(
            Stage(
                label=str(row["label"]),
                state=str(row["state"]),
                percent=int(row.get("percent") or 0),
                text=str(row.get("text") or ""),
                elapsed=float(row.get("elapsed") or 0),
            )
            for row in document.get("stages", ())
        ),
        at=datetime.fromtimestamp(float(document["at"]), UTC),
    )
