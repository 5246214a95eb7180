"""An engine over several pods: workers join their leader, which loads only with all of them.

Nothing is computed together. What is as in vLLM: the leader speaks HTTP and the workers do not,
nobody is ready before all are there, and all end when one of them does. What vLLM does not do: the
members say of which group they are (QUARTERMASTER_GROUP), and a worker leaves a leader of another
one with an error, as answers would come out of two sets of weights.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

RETRY = 0.2  # seconds
LINE = 4096


class Group:
    """The side of one member. `lost` is set when another one is gone."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.size: int = args.nnodes
        self.rank: int = args.node_rank
        self.leader: str = args.master_addr
        self.port: int = args.master_port
        self.host = args.host
        self.name = os.environ.get("QUARTERMASTER_GROUP", "")
        self.ranks: set[int] = set()
        self.whole = asyncio.Event()
        self.lost = asyncio.Event()
        self.why = ""
        self.server: asyncio.Server | None = None

    @property
    def alone(self) -> bool:
        return self.size < 2

    # -- the leader -------------------------------------------------------------------
    async def gather(self) -> None:
        """Listen for workers; `whole` is set when all are there."""
        self.server = await asyncio.start_server(self._joined, self.host, self.port)
        print(f"waits for {self.size - 1} workers on {self.host}:{self.port}", flush=True)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rank, _, name = (await reader.readline()).decode().strip().partition(" ")
        writer.write(f"{self.name}\n".encode())
        if name != self.name or not rank.isdigit() or int(rank) in self.ranks:
            print(f"refused a worker of {name!r}, this is {self.name!r}", flush=True)
            writer.close()
            return
        self.ranks.add(int(rank))
        if len(self.ranks) == self.size - 1:
            self.whole.set()
        await reader.read()  # until it is gone
        self._lose(f"worker {rank} is gone")

    # -- a worker -----------------------------------------------------------------------
    async def work(self) -> int:
        """Join, and stay until the leader is gone. The exit code."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(self._address(), self.port)
                break
            except OSError:
                await asyncio.sleep(RETRY)
        writer.write(f"{self.rank} {self.name}\n".encode())
        theirs = (await reader.readline()).decode().strip()
        if theirs != self.name:
            print(f"RuntimeError: the leader is of {theirs!r}, not {self.name!r}", file=sys.stderr)
            return 1
        print(f"rank {self.rank} joined {self.leader}", flush=True)
        await reader.read()
        print("RuntimeError: the leader is gone", file=sys.stderr, flush=True)
        return 1

    def _address(self) -> str:
        """As a resolver would: the file of that name, else it is an address already. Whatever
        follows the names of pod and Service is the cluster's own.
        """
        name = ".".join(self.leader.split(".")[:2])
        path = Path(os.environ.get("SANDBOX_NAMES", "")) / name
        try:
            return path.read_text(encoding="utf-8")
        except OSError:
            return self.leader

    def _lose(self, why: str) -> None:
        self.why = self.why or why
        self.lost.set()

    def close(self) -> None:
        if self.server is not None:
            self.server.close()
