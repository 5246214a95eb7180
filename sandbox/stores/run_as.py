"""Whom PostgreSQL and Valkey run as, for PostgreSQL refuses to run as root.

An ordinary user runs them directly. Root drops to an unprivileged account where that account can
reach the data and the programs, and enters a user namespace otherwise.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.process import die_with_parent

ACCOUNTS = ("postgres", "nobody")


class LaunchError(Exception):
    """The servers cannot run; the text tells the person what to change."""


@dataclass(frozen=True)
class RunAs:
    """Who the servers run as: an account to drop to, a command prefix, or neither."""

    label: str
    account: pwd.struct_passwd | None = None
    prefix: tuple[str, ...] = ()

    def popen(
        self, command: Sequence[str], log: Path, *, on_parent_death: signal.Signals = signal.SIGTERM
    ) -> "subprocess.Popen[bytes]":
        """Start it. Trap: it ends with the *thread* that calls this."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [*self._enter(on_parent_death), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_environment(os.environ),
                start_new_session=True,  # a Ctrl-C in the terminal must reach the console first
                preexec_fn=die_with_parent(on_parent_death),
                user=self.account.pw_uid if self.account else None,
                group=self.account.pw_gid if self.account else None,
                extra_groups=[] if self.account else None,
            )

    def run(self, command: Sequence[str], log: Path) -> int:
        return self.popen(command, log).wait()

    def own(self, folder: Path) -> None:
        if self.account:
            os.chown(folder, self.account.pw_uid, self.account.pw_gid)

    def _enter(self, on_parent_death: signal.Signals) -> tuple[str, ...]:
        """The kernel forgets the parent-death signal on the way into a namespace: set it again."""
        setpriv = shutil.which("setpriv") if self.prefix else None
        if not setpriv:
            return self.prefix
        return (*self.prefix, setpriv, "--pdeathsig", on_parent_death.name, "--")


def choose_run_as(folder: Path, programs: Sequence[Path], *, account: str | None = None) -> RunAs:
    """Return the first way that works, or tell why none does.

    An account needs a way through every parent folder, of the data and of the programs. A user
    namespace needs none, for the files stay root's; but so does all that the server may touch.
    """
    made = next((path for path in (folder / "pg", folder / "valkey") if path.exists()), None)
    owner = made.stat().st_uid if made else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise LaunchError(f"{made} belongs to another user: start as that user, or elsewhere")
        return RunAs("the current user")
    refused = []
    for choice in _root_choices(account, owner):
        problem = _problem(choice, folder, programs)
        if not problem:
            return choice
        refused.append(f"  {choice.label}: {problem}\n")
    raise LaunchError(
        f"Running as root, and no unprivileged way to start the servers works:\n{''.join(refused)}"
        "Use a data folder and a virtual environment below folders that others may enter (root's "
        "home is closed), start as an ordinary user, or set DATABASE_URL and REDIS_URL."
    )


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-8:]) if log.exists() else ""


def _environment(surroundings: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in surroundings.items() if not key.startswith("PG")}
    return kept | {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}


def _root_choices(account: str | None, owner: int | None) -> Iterator[RunAs]:
    """Data that exists is opened again in the way that made it: its owner tells."""
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    if account and account not in known:
        raise LaunchError(f"There is no account {account!r}")
    owners = [entry.pw_name for entry in known.values() if entry.pw_uid == owner != 0]
    for name in [account] if account else owners or ACCOUNTS:
        if name in known and owner in (None, known[name].pw_uid):
            yield RunAs(f"account {name}", account=known[name])
    unshare = shutil.which("unshare")
    if unshare and owner in (None, 0) and not account:
        mapping = ("--user", "--map-user=65534", "--map-group=65534", "--")
        yield RunAs("root in a user namespace", prefix=(unshare, *mapping))


def _problem(choice: RunAs, folder: Path, programs: Sequence[Path]) -> str | None:
    probes = [["test", "-x", str(folder)], *([str(program), "--version"] for program in programs)]
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        for probe in probes:
            try:
                if choice.run(probe, log):
                    return tail(log) or f"may not enter {folder}"
            except OSError as error:
                return f"{error.strerror}: {error.filename}"
    return None
