"""The processes of one installation: some run to their end, some are kept running."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.process import Process
from sandbox.up.options import TREE

LONGEST_LOG = 20 * 2**20  # bytes; a longer one starts anew at the next start
HEALTHY_SECONDS = 60.0  # whoever ran this long has earned a quick restart
LONGEST_PAUSE = 30.0


class Guard:
    """See guard.py."""

    def __init__(self, log: Path) -> None:
        reading, self.writing = os.pipe()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sandbox.up.guard", str(reading)],
                cwd=TREE,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[reading],
                start_new_session=True,
            )
        os.close(reading)

    def add(self, group: int) -> None:
        os.write(self.writing, f"+{group}\n".encode())

    def remove(self, group: int) -> None:
        os.write(self.writing, f"-{group}\n".encode())

    def close(self) -> None:
        """Let it end; what is still registered ends with it."""
        os.close(self.writing)
        self.process.wait()


class Child:
    """A process with its log, from whose JSON lines the latest values are kept."""

    def __init__(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str], logs: Path, guard: Guard
    ) -> None:
        self.name, self.guard = name, guard
        self.process = Process(name, argv, logs / f"{name}.log", env=env, cwd=TREE)
        self.said: dict[str, Any] = {}
        self._offset = 0
        self._rest = b""

    def start(self) -> None:
        log = self.process.log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LONGEST_LOG:
            log.replace(log.with_suffix(".log.1"))
        self._offset, self._rest = (log.stat().st_size if log.exists() else 0), b""
        self.process.start(on_parent_death=signal.SIGTERM)
        self.guard.add(self.process.pid)

    def listen(self) -> dict[str, Any]:
        """Read what it wrote since; return all values of its JSON lines so far, latest first."""
        with self.process.log.open("rb") as log:
            log.seek(self._offset)
            fresh = log.read()
        self._offset += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                try:
                    self.said |= json.loads(line)
                except ValueError:
                    continue  # a log line that only looks like one
        return self.said

    def last_words(self) -> str:
        """The sentence to show when it failed: its own error, else its last line."""
        if self.listen().get("error"):
            return str(self.said["error"])
        lines = [line.strip() for line in self.process.tail().splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it said nothing"

    def stop(self, grace: float) -> None:
        if self.process.pid:
            self.process.stop(grace)
            self.guard.remove(self.process.pid)


class Kept(Child):
    """A child that is started again when it ends, after a pause that doubles up to 30 s."""

    restarts = 0
    _pause = 1.0
    _due: float | None = None
    _since = 0.0

    def start(self) -> None:
        super().start()
        self._since, self._due = time.monotonic(), None

    def tend(self) -> str | None:
        """Return a sentence when it was found dead or was started again."""
        if self.process.alive:
            return None
        now = time.monotonic()
        if self._due is None:
            status = self.process.poll()
            self.guard.remove(self.process.pid)
            self._pause = 1.0 if now - self._since > HEALTHY_SECONDS else self._pause
            self._due = now + self._pause
            self._pause = min(LONGEST_PAUSE, self._pause * 2)
            return (
                f"{self.name} ended with status {status} and starts again in "
                f"{self._due - now:.0f} s. Its log: {self.process.log}"
            )
        if now >= self._due:
            self.restarts += 1
            self.start()
        return None
