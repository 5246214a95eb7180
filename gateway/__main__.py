"""Start the gateway: `python -m gateway [--workers N]`.

Each worker is a process of its own on the same port (SO_REUSEPORT); the kernel shares out the
connections. The parent only starts workers, starts one again that died, and ends them with
itself, whatever kills it.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import logging
import os
import signal
import socket
import subprocess
import sys
import time

import uvicorn

from gateway.app import Gateway
from gateway.protocol import Protocol
from gateway.settings import Settings, SettingsError, read_settings
from gateway.worker import Worker

log = logging.getLogger("gateway")

PR_SET_PDEATHSIG = 1
RESTART_SECONDS = 1.0


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    parser = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    parser.add_argument("--workers", type=int, help="processes, about one a core")
    parser.add_argument("--slot", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        settings = read_settings()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.workers:
        settings = dataclasses.replace(settings, workers=options.workers)
    if options.slot is not None:
        _die_with_parent()
        return _serve(settings, options.slot, shared=True)
    if settings.workers > 1:
        return _supervise(settings)
    return _serve(settings, 0, shared=False)


def _serve(settings: Settings, slot: int, *, shared: bool) -> int:
    try:
        listener = _listen(settings, shared=shared)
    except OSError as error:
        sys.stderr.write(f"Port {settings.port} of {settings.host} cannot be used: {error}\n")
        return 3
    config = uvicorn.Config(
        Gateway(Worker(settings, slot)),
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(settings.drain_seconds),
        backlog=2048,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _listen(settings: Settings, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((settings.host, settings.port))
    return listener


def _supervise(settings: Settings) -> int:
    """Keep one process a slot until told to stop."""
    try:
        # Alone, without SO_REUSEPORT: a port that another gateway has must not be shared.
        _listen(settings, shared=False).close()
    except OSError as error:
        sys.stderr.write(f"Port {settings.port} of {settings.host} cannot be used: {error}\n")
        return 3
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    children = {slot: _start_child(settings, slot) for slot in range(settings.workers)}
    while not stopping:
        time.sleep(0.2)
        for slot, child in children.items():
            if child.poll() is not None:
                log.error("worker %d ended with %d and starts again", slot, child.returncode)
                time.sleep(RESTART_SECONDS)
                children[slot] = _start_child(settings, slot)
    for child in children.values():
        child.terminate()
    for child in children.values():
        child.wait()
    return 0


def _start_child(settings: Settings, slot: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gateway", "--workers", str(settings.workers)]
    return subprocess.Popen([*command, "--slot", str(slot)])


def _die_with_parent() -> None:
    """Ask the kernel (Linux) to end this process with its parent, even after kill -9."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
