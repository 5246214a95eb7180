"""A console as it runs in production (one process, ASGI), and batches sent to its door."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx

from bench.billing.watch import Watch

START = 60.0  # seconds
SENDERS = 2


@contextmanager
def console() -> Iterator[tuple[str, int]]:
    """Its address and process; it reads the stores that the environment names."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "console.asgi:application", "--port", str(port)]
    more = ["--no-access-log", "--log-level", "warning"]
    server = subprocess.Popen([*command, *more], env=os.environ | {"QM_LOG_LEVEL": "ERROR"})
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        server.terminate()
        server.wait()


def wait_for(port: int) -> None:
    until = time.monotonic() + START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def send_over_http(address: str, secret: str, bodies: Sequence[bytes], watch: Watch) -> int:
    """How many were accepted. As from two gateways, each with one batch after another."""
    headers = {
        "Authorization": f"Bearer {secret}",
        "Content-Type": "application/cloudevents-batch+json",
    }

    def send(share: Sequence[bytes]) -> int:
        accepted = 0
        with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
            for body in share:
                answer = client.post("/api/v1/usage/events", content=body)
                accepted += answer.raise_for_status().json()["accepted"]
        return accepted

    with ThreadPoolExecutor(SENDERS) as senders, watch:
        return sum(senders.map(send, [bodies[n::SENDERS] for n in range(SENDERS)]))
