"""One server process: readiness, watch, stop."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox.stores.run_as import LaunchError, tail

READY_SECONDS = 120.0  # crash recovery of a large database is slow; pg_ctl gives up after 60
STOP_SECONDS = 30.0


@dataclass
class Server:
    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    signals: tuple[signal.Signals, ...]  # the polite one first

    def wait_until(self, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not answers():
            self.check()
            if time.monotonic() > deadline:
                raise LaunchError(f"{self.name} is not ready after {READY_SECONDS:.0f} s")
            time.sleep(0.05)

    def check(self) -> None:
        if self.process.poll() is not None:
            raise LaunchError(f"{self.name} ended by itself. Last lines:\n{tail(self.log)}")

    def stop(self) -> None:
        for number in (*self.signals, signal.SIGKILL):
            if self.process.poll() is not None:
                return
            self.process.send_signal(number)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"{self.name} does not obey {number.name}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
