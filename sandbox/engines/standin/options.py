"""The command line: that of `vllm serve`, and what only the stand-in has."""

import argparse
import json

from sandbox.engines.standin.core import BLOCK, WORDS


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Unknown flags are accepted and named: the args of a real release start it unchanged."""
    p = argparse.ArgumentParser(prog="python -m sandbox.engines.standin", allow_abbrev=False)
    _add_vllm(p)
    _add_own(p.add_argument_group("not in vLLM"))
    args, unknown = p.parse_known_args(argv)
    if unknown:
        print(f"ignored flags: {' '.join(unknown)}", flush=True)
    return args


def _add_vllm(p: argparse.ArgumentParser) -> None:
    p.add_argument("model", nargs="?", default="stand-in")
    p.add_argument("--model", dest="model", default=argparse.SUPPRESS)
    p.add_argument("--revision", default="")
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, default=8000)
    p.add_argument("--served-model-name", nargs="+")
    p.add_argument("--max-model-len", type=int, default=32768)
    p.add_argument("--max-num-seqs", type=int, default=256)
    p.add_argument("--max-num-queued-reqs", type=int)
    p.add_argument("--shutdown-timeout", type=int, default=0)
    p.add_argument("--fingerprint-mode", default="full", choices=["full", "hash", "custom", "none"])
    p.add_argument("--fingerprint-value", default="")
    p.add_argument("--enable-prompt-tokens-details", action="store_true")
    p.add_argument("--kv-transfer-config", default="")
    p.add_argument("--nnodes", type=int, default=1)
    p.add_argument("--node-rank", type=int, default=0)
    p.add_argument("--master-addr", default="127.0.0.1")
    p.add_argument("--master-port", type=int, default=29501)
    p.add_argument("--headless", action="store_true")
    p.add_argument("--enable-lora", action="store_true")
    p.add_argument("--block-size", default=str(BLOCK))
    p.add_argument("--kv-cache-dtype", default="auto")
    p.add_argument("--gpu-memory-utilization", default="0.92")
    p.add_argument("--prefix-caching-hash-algo", default="sha256")
    p.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction, default=True)
    p.add_argument("--lora-modules", nargs="+", default=[], type=_adapter)


def _adapter(word: str) -> tuple[str, str]:
    """Name and path, written as NAME=PATH or as JSON."""
    if word.startswith("{"):
        module = json.loads(word)
        return str(module["name"]), str(module["path"])
    name, equals, path = word.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=PATH")
    return name, path


def _add_own(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--admin-port", type=int, default=9900, help="0: no admin endpoint")
    group.add_argument(
        "--start-delay", type=float, default=0.0, help="seconds until the port opens"
    )
    group.add_argument("--teardown-seconds", type=float, default=0.2)
    group.add_argument(
        "--crash-after", type=float, help="exit with --exit-code after this many seconds"
    )
    group.add_argument("--worker-crash-after", type=float, help="the same of workers only")
    group.add_argument("--exit-code", type=int, default=1)
    group.add_argument("--ttft-ms", type=float, default=0.0)
    group.add_argument("--ttft-ms-per-token", type=float, default=0.0)
    group.add_argument("--itl-ms", type=float, default=0.0)
    group.add_argument("--output-tokens", type=int, default=len(WORDS))
    group.add_argument("--engine-version", default="0.32.0", help="told at /version")
    group.add_argument("--error-rate", type=float, default=0.0)
    group.add_argument("--break-rate", type=float, default=0.0)
    group.add_argument("--loose", action="store_true", help="no schemas, stop words, tools, limit")
    group.add_argument("--garble", action="store_true", help="answer every request with nothing")
    group.add_argument("--lie", action="store_true", help="tell a cache that is not as asked for")
    group.add_argument("--force-fingerprint", help="wins over --fingerprint-value")
