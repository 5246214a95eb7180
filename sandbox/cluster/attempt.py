"""One run of a container's process, behind a shim that outlives the node agent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from sandbox.cluster.kube import Json

SHIM = Path(__file__).resolve().parent / "shim.py"


class Attempt:
    """One run of a container's process; its directory survives the agent."""

    def __init__(
        self, directory: Path, meta: Json, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.dir, self.meta = directory, meta
        self._child = child  # None when an earlier agent started it

    @classmethod
    def launch(
        cls, directory: Path, argv: list[str], env: dict[str, str], log: Path, owner: int
    ) -> Attempt:
        directory.mkdir(parents=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        shim = [sys.executable, "-I", "-S", str(SHIM), str(directory), str(owner), "--", *argv]
        with log.open("ab") as out:
            # Not asyncio's subprocess: in Python 3.11 it takes a thread for each child.
            process = subprocess.Popen(
                shim,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                start_new_session=True,
            )
        meta = {
            "container_id": "sandbox://" + os.urandom(32).hex(),
            "started": time.time(),
            "shim": process.pid,
            "shim_start": _start_ticks(process.pid),
        }
        tmp = directory / ".meta"
        tmp.write_text(json.dumps(meta))
        tmp.rename(directory / "meta")
        return cls(directory, meta, process)

    @classmethod
    def adopt(cls, directory: Path) -> Attempt | None:
        with contextlib.suppress(OSError, ValueError):
            return cls(directory, json.loads((directory / "meta").read_text()))
        return None

    @property
    def alive(self) -> bool:
        """Is the shim there?"""
        return _start_ticks(int(self.meta["shim"])) == int(self.meta["shim_start"])

    @property
    def running(self) -> bool:
        return self.alive and not (self.dir / "exit").exists()

    def pid(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int((self.dir / "pid").read_text())
        return None

    async def wait(self) -> Json:
        """Until the shim is gone; the content of its exit file."""
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(self.meta["shim"])
            done = asyncio.Event()
            loop = asyncio.get_running_loop()
            try:
                if self.alive:
                    loop.add_reader(fd, done.set)
                    await done.wait()
            finally:
                loop.remove_reader(fd)
                os.close(fd)
        if self._child is not None:
            self._child.poll()  # reap it
        try:
            result: Json = json.loads((self.dir / "exit").read_text())
        except (OSError, ValueError):  # the shim itself was killed
            result = {"code": 137, "signal": 9, "finished": time.time(), "unknown": True}
        return result

    def signal(self, sig: signal.Signals, *, group: bool = False) -> None:
        pid = self.pid()
        if pid is None or not self.running:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, sig) if group else os.kill(pid, sig)


def _start_ticks(pid: int) -> int:
    """Start time of a process: with the pid it identifies the process for good."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] not in "ZX":  # a zombie that nobody reaps (init of some containers) is dead
            return int(fields[19])
    return -1
