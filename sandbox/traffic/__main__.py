"""python -m sandbox.traffic --gateway URL --keys FILE: background clients until SIGTERM.

The file has {"clients": [{"tenant", "key", "traffic_class", "models": [...]}, ...]}.
"""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from sandbox.traffic.clients import Client, Fleet
from sandbox.traffic.profile import HABITS


def read_clients(path: Path) -> list[Client]:
    rows = json.loads(path.read_text())["clients"]
    unknown = {row["traffic_class"] for row in rows} - HABITS.keys()
    if unknown:
        raise ValueError(f"{path}: no habits for the traffic class {', '.join(sorted(unknown))}")
    return [
        Client(row["tenant"], row["key"], row["traffic_class"], tuple(row["models"]))
        for row in rows
    ]


async def serve(fleet: Fleet, seconds: float | None) -> None:
    work = asyncio.create_task(fleet.run(seconds))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateway", required=True, help="address of the gateway")
    parser.add_argument("--keys", required=True, type=Path, help="file with the clients")
    parser.add_argument("--off-while", type=Path, help="silent while this file exists")
    parser.add_argument("--factor", type=float, default=1.0, help="times the usual rate")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    options = parser.parse_args()
    gateway = options.gateway.rstrip("/")
    fleet = Fleet(gateway, read_clients(options.keys), options.off_while, options.factor)
    asyncio.run(serve(fleet, options.seconds))
    print(json.dumps({"traffic": dict(fleet.seen)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
