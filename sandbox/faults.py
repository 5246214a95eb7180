"""Break the sandbox on purpose: python -m sandbox.faults --data DIR VERB ...

DIR is the cluster's data folder (the parent of its kubeconfigs). Each verb has an inverse or heals
by itself; `state` shows what there is. A TARGET is a pod's name, NAMESPACE/NAME, the beginning of
one, or LABEL=VALUE; a node is named as in `state`.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox.cluster.machine import ask_agent

Json = dict[str, Any]
ADMIN_PORT = 9900  # of the stand-in engine, on the pod's address
TIMEOUT = 10.0  # seconds


class NoTarget(Exception):
    """No pod matches; the text names those there are."""


def find_pods(data: Path, target: str) -> dict[str, Json]:
    """The pods that the target names, by NAMESPACE/NAME."""
    pods: dict[str, Json] = ask_agent(data, {"op": "state"})["pods"]
    label, equals, value = target.partition("=")
    if equals:
        found = {k: p for k, p in pods.items() if p["labels"].get(label) == value}
    else:
        found = {k: p for k, p in pods.items() if target == k or k.split("/")[1].startswith(target)}
    if not found:
        raise NoTarget(f"no pod matches {target!r}; there are {', '.join(pods) or 'none'}")
    return found


def turn_knobs(ip: str, changes: Json) -> Json:
    """Change knobs of one stand-in engine; returns all of them.

    Raises ValueError with its answer for an unknown knob, OSError when it does not listen.
    """
    request = urllib.request.Request(
        f"http://{ip}:{ADMIN_PORT}/admin/config",
        data=json.dumps(changes).encode(),
        headers={"content-type": "application/json"},
        method="PUT",
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            knobs: Json = json.load(response)
    except urllib.error.HTTPError as exc:
        raise ValueError(exc.read().decode(errors="replace")) from exc
    return knobs


def _state(args: argparse.Namespace) -> object:
    return ask_agent(args.data, {"op": "state"})


def _node(args: argparse.Namespace) -> object:
    power_off = bool(getattr(args, "power_off", False))
    return ask_agent(args.data, {"op": args.op, "node": args.node, "power_off": power_off})


def _pod(args: argparse.Namespace) -> object:
    pods = find_pods(args.data, args.target)
    code = getattr(args, "code", 1)
    return {k: ask_agent(args.data, {"op": args.verb, "pod": k, "code": code}) for k in pods}


def _image(args: argparse.Namespace) -> object:
    return ask_agent(args.data, {"op": args.verb, "image": args.image})


def _slow_pull(args: argparse.Namespace) -> object:
    return ask_agent(args.data, {"op": "slow_pull", "seconds": args.seconds})


def _knobs(args: argparse.Namespace) -> object:
    changes = dict(_parse_change(text) for text in args.change)
    return {k: turn_knobs(p["ip"], changes) for k, p in find_pods(args.data, args.target).items()}


def _parse_change(text: str) -> tuple[str, object]:
    """NAME=JSON; what is no JSON is text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    verbs = parser.add_subparsers(dest="verb", required=True)

    def add(
        name: str, text: str, run: Callable[[argparse.Namespace], object]
    ) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text)
        made.set_defaults(run=run)
        return made

    add("state", "nodes and pods with addresses, labels and process ids", _state)
    _add_nodes(add)
    for name, text in (
        ("kill", "kill the process of each pod: Error"),
        ("oom", "kill it and tell OOMKilled"),
        ("freeze", "stop all its processes (SIGSTOP)"),
        ("thaw", "let them go on"),
    ):
        add(name, text, _pod).add_argument("target")
    verbs.choices["kill"].add_argument("--code", type=int, default=1)
    for name, text in (("deny", "pulls of this image fail"), ("allow", "they work again")):
        add(name, text, _image).add_argument("image", help="digest or whole reference")
    slow = add("slow-pull", "every pull takes at least this long; 0 ends it", _slow_pull)
    slow.add_argument("seconds", type=float)
    knobs = add("knobs", "change stand-in engines, such as ttft_ms=300 error_rate=0.1", _knobs)
    knobs.add_argument("target")
    knobs.add_argument("change", nargs="*", metavar="NAME=VALUE", help="none: show them")
    return parser


def _add_nodes(
    add: Callable[[str, str, Callable[[argparse.Namespace], object]], argparse.ArgumentParser],
) -> None:
    for name, op, text in (
        ("lose-node", "node_down", "silence a node; its pods go on"),
        ("heal-node", "node_up", "let it speak again"),
        ("fill-disk", "disk_full", "DiskPressure: the node takes no new pods"),
        ("free-disk", "disk_free", "the end of it"),
    ):
        made = add(name, text, _node)
        made.add_argument("node")
        made.set_defaults(op=op)
        if op == "node_down":
            made.add_argument("--power-off", action="store_true", help="its processes vanish too")


def main() -> int:
    args = build_parser().parse_args()
    try:
        print(json.dumps(args.run(args), indent=1))
    except (NoTarget, ValueError, RuntimeError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"error: no sandbox answers in {args.data}: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
