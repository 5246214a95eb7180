"""A process that outlives a killed supervisor for a moment, to end what it left behind.

Children die with their parent by the kernel's signal; their own children may not. The supervisor
writes the process group of each child down a pipe that only it holds. When the pipe ends, the
groups get SIGTERM and, five seconds later, SIGKILL.
"""

import contextlib
import os
import signal
import sys
import time

GRACE_SECONDS = 5.0


def watch(lines: "os.PathLike[str] | int") -> set[int]:
    """Read "+group" and "-group" until the pipe ends; return the groups that are left."""
    groups: set[int] = set()
    with open(lines) as pipe:
        for line in pipe:
            number = int(line[1:])
            groups.add(number) if line[0] == "+" else groups.discard(number)
    return groups


def end(groups: set[int]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        alive = [group for group in groups if _send(group, number)]
        deadline = time.monotonic() + GRACE_SECONDS
        while any(_send(group, 0) for group in alive) and time.monotonic() < deadline:
            time.sleep(0.1)


def _send(group: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    # Only the end of the pipe ends it: a Ctrl-C or a closed terminal must not.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    end(watch(int(sys.argv[1])))
