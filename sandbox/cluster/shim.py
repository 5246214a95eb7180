"""The parent of one container process: python -I -S shim.py DIR OWNER_PID -- COMMAND...

It outlives a crash of the node agent (as a container outlives its kubelet) and dies
with the sandbox.  It writes into DIR, each file in one rename:
    pid    the process id of the command
    exit   {"code": 0..255, "signal": 0..64, "finished": unix time}
Its own exit is what the agent waits for.  Standard library only, started with -I -S,
because one of these runs per container.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None)


def put(directory: str, name: str, text: str) -> None:
    tmp = os.path.join(directory, "." + name)
    with open(tmp, "w") as f:
        f.write(text)
    os.rename(tmp, os.path.join(directory, name))


def spawn(command: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()  # own process group: the agent kills the group
        LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.execvp(command[0], command)
    except OSError as exc:
        os.write(2, f"exec {command[0]}: {exc.strerror}\n".encode())
    os._exit(127)


def kill_tree(pid: int) -> None:
    """Kill the group, then everything that was re-parented to this process."""
    for _ in range(50):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as f:
                children = [int(p) for p in f.read().split()]
        except OSError:
            children = []
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def main() -> int:
    directory, owner = sys.argv[1], int(sys.argv[2])
    command = sys.argv[4:]
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the agent signals the command, not this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        owner_fd = os.pidfd_open(owner)
    except ProcessLookupError:
        return 1
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = spawn(command)
    put(directory, "pid", str(pid))
    child_fd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(owner_fd, select.POLLIN)
    poll.register(child_fd, select.POLLIN)
    ready = {fd for fd, _ in poll.poll()}
    if child_fd not in ready:  # the sandbox is gone
        kill_tree(pid)
        return 1
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    kill_tree(pid)
    number = -code if code < 0 else 0
    put(
        directory,
        "exit",
        json.dumps(
            {"code": 128 + number if number else code, "signal": number, "finished": time.time()}
        ),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
