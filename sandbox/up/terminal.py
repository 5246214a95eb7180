"""The progress on the terminal: one line that changes, or a line now and then in a log."""

import sys
import time
from typing import TextIO

from sandbox.up.status import DONE, ENDED, FAILED, SKIPPED, Stage, Status

LOG_SECONDS = 15.0  # between two progress lines when nobody watches a terminal
MARKS = {DONE: "ok", FAILED: "FAILED", SKIPPED: "skipped"}


class Terminal:
    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self.stream = stream
        self.live = stream.isatty()
        self._reported: set[str] = set()
        self._next_line = 0.0

    def say(self, text: str) -> None:
        self._clear()
        print(text, file=self.stream, flush=True)

    def show(self, status: Status, now: float) -> None:
        """Report each stage that ended, and how far the current one is."""
        for stage in status.stages:
            if stage.state in ENDED and stage.name not in self._reported:
                self._reported.add(stage.name)
                self.say(self._ended(stage, now))
        current = status.current
        if not current or current.state in ENDED:
            return
        line = (
            f"  {status.percent:3d} %  {current.label}: {current.percent:.0f} %, "
            f"{current.elapsed(now):.0f} s  {current.text}"
        )
        if self.live:
            self._clear()
            print(line[:110], end="", file=self.stream, flush=True)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LOG_SECONDS
            print(line, file=self.stream, flush=True)

    def _ended(self, stage: Stage, now: float) -> str:
        tail = f"  {stage.text}" if stage.text else ""
        return f"  {MARKS[stage.state]:7s} {stage.label}, {stage.elapsed(now):.0f} s{tail}"

    def _clear(self) -> None:
        if self.live:
            print("\r\033[K", end="", file=self.stream)
