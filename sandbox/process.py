"""Child processes that never outlive their parent."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals, parent: int | None = None) -> Callable[[], None]:
    """Return a preexec_fn: the kernel sends the signal to the child when its parent dies.

    Trap: "parent" means the *thread* that forked. Start children from the main thread, or from
    one that lives as long as the process, else they die early.
    """
    expected = parent or os.getpid()

    def apply() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != expected:  # the parent died between fork and prctl
            os._exit(1)

    return apply


class Process:
    """A child with a log file, stopped with SIGTERM and then SIGKILL."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name, self.argv, self.log = name, list(argv), log
        self.env, self.cwd = env, cwd
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self, on_parent_death: signal.Signals = signal.SIGKILL) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.env) if self.env is not None else None,
                cwd=self.cwd,
                start_new_session=True,  # a Ctrl-C in the terminal reaches the supervisor only
                preexec_fn=die_with_parent(on_parent_death),
            )

    @property
    def pid(self) -> int:
        """Its process id; 0 before the first start."""
        return self._popen.pid if self._popen else 0

    def poll(self) -> int | None:
        """Return None while it runs or before it started, else the exit status."""
        return self._popen.poll() if self._popen else None

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def terminate(self) -> None:
        if self._popen:
            with contextlib.suppress(ProcessLookupError):
                self._popen.terminate()

    def stop(self, grace: float = 10.0) -> int | None:
        """Ask, wait `grace` seconds, kill; return the exit status."""
        if self._popen is None:
            return None
        self.terminate()
        try:
            return self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self._kill_group()
            return self._popen.wait()

    def tail(self, size: int = 2000) -> str:
        with contextlib.suppress(OSError):
            return self.log.read_bytes()[-size:].decode(errors="replace")
        return ""

    def _kill_group(self) -> None:
        """It leads its own session, so its group has its children and nobody else's."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Tell whether it runs. A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(what: str, check: Callable[[], bool], timeout: float, every: float = 0.1) -> float:
    """Poll until check() is true; return the seconds waited, else raise TimeoutError."""
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > timeout:
            raise TimeoutError(f"{what}: not within {timeout:.0f} s")
        time.sleep(every)
    return time.monotonic() - began
