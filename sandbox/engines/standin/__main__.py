"""Run it like `vllm serve`: python -m sandbox.engines.standin MODEL --port 8000 ..."""

import os
import sys
from pathlib import Path

from sandbox.engines.standin.options import parse_args
from sandbox.engines.standin.server import StandIn

try:
    from uvloop import run
except ImportError:  # works without, at a third of the speed
    from asyncio import run


def missing(model: str, revision: str) -> str:
    """What an engine says that starts offline, and finds no weights where it looks for them.

    Without a cache to look into the stand-in needs none.
    """
    cache = os.environ.get("HF_HUB_CACHE", "")
    if not (cache and revision) or model.startswith("/"):
        return ""
    folder = Path(cache) / f"models--{model.replace('/', '--')}" / "snapshots" / revision
    if (folder / "config.json").exists():
        return ""
    return (
        f"huggingface_hub.errors.LocalEntryNotFoundError: {model} at {revision} is not in {cache},"
        " and outgoing traffic has been disabled (HF_HUB_OFFLINE)"
    )


async def serve() -> int:
    args = parse_args(sys.argv[1:])
    if trouble := missing(args.model, args.revision):
        print(trouble, file=sys.stderr, flush=True)
        return 1
    return await StandIn(args).serve()


if __name__ == "__main__":
    sys.exit(run(serve()))
