"""Which part of 127.0.0.0/8 the nodes and pods of one sandbox have, so that two never meet."""

import contextlib
import hashlib
import ipaddress
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FIRST, LAST = 18, 126  # 127.N.0.0/16; the lower ones are left to resolvers and the like
GUARD_PORT = 9899


class NoNetwork(RuntimeError):
    """Every part is taken by another sandbox."""


@dataclass
class Network:
    """127.N.0.0/16, held by a bound socket until it is released."""

    number: int
    guard: socket.socket

    @property
    def pods(self) -> str:
        return f"127.{self.number}.16.0/20"

    @property
    def first_node(self) -> str:
        return f"127.{self.number}.0.1"

    def node_addresses(self, count: int) -> tuple[str, ...]:
        first = ipaddress.ip_address(self.first_node)
        return tuple(str(first + i) for i in range(count))

    def release(self) -> None:
        self.guard.close()


def claim(data: Path) -> tuple[Network, bool]:
    """The network of the last start in this folder if it is free, else another one.

    Returns it, and whether it is the one of the last start. Raises NoNetwork.
    """
    path = data / "network.json"
    last = int(json.loads(path.read_text())["number"]) if path.exists() else None
    for number in _candidates(data, last):
        guard = socket.socket()
        # No SO_REUSEADDR: a second bind has to fail, whoever does it.
        with contextlib.suppress(OSError):
            guard.bind((f"127.{number}.255.254", GUARD_PORT))
            guard.listen(1)
            path.write_text(json.dumps({"number": number}))
            return Network(number, guard), number == last
        guard.close()
    raise NoNetwork(f"all networks from 127.{FIRST}.0.0/16 to 127.{LAST}.0.0/16 are in use")


def _candidates(data: Path, last: int | None) -> Iterator[int]:
    if last is not None:
        yield last
    start = int.from_bytes(hashlib.sha256(str(data).encode()).digest()[:4])
    for i in range(LAST - FIRST + 1):
        yield FIRST + (start + i) % (LAST - FIRST + 1)
