"""Ports for servers of this machine.

They lie below those that Linux gives to connections (32768 to 60999): between the choice of one and
its use nobody takes it but a process that chooses likewise, and each of these begins elsewhere.
"""

import socket
from itertools import count
from random import SystemRandom

LOWEST, MANY = 20_000, 12_000
_numbers = count(SystemRandom().randrange(MANY))


def free_port() -> int:
    """One that nobody listens on now, and that this process has not chosen lately."""
    for _ in range(MANY):
        port = LOWEST + next(_numbers) % MANY
        if port_is_free(port):
            return port
    raise OSError(f"No port from {LOWEST} to {LOWEST + MANY - 1} is free on 127.0.0.1")


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
