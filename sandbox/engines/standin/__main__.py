"""Run it like `vllm serve`: python -m sandbox.engines.standin MODEL --port 8000 ..."""

import sys

from sandbox.engines.standin.options import parse_args
from sandbox.engines.standin.server import StandIn

try:
    from uvloop import run
except ImportError:  # works without, at a third of the speed
    from asyncio import run


async def serve() -> int:
    return await StandIn(parse_args(sys.argv[1:])).serve()


if __name__ == "__main__":
    sys.exit(run(serve()))
