"""Run by the Python of vLLM: parse what comes as JSON on stdin, say what it thinks of it.

In: {"lines": [[argument, ...], ...], "variables": [name, ...]}.
Out: {"options": {flag: {"switch", "choices"}}, "lines": [error or ""], "unknown": [name, ...],
"connectors": [name, ...]}.
"""

import json
import sys
from typing import Any, NoReturn

from vllm import envs
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser


class Parser(FlexibleArgumentParser):  # type: ignore[misc]  # vLLM is not in this environment
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def main() -> None:
    asked = json.load(sys.stdin)
    parser = make_arg_parser(Parser(prog="vllm serve"))
    found = {
        "options": options_of(parser),
        "lines": [trouble(parser, line) for line in asked["lines"]],
        "unknown": [v for v in asked["variables"] if v not in envs.environment_variables],
        "connectors": sorted(KVConnectorFactory._registry),
    }
    print(json.dumps(found))


def trouble(parser: Parser, line: list[str]) -> str:
    try:
        validate_parsed_serve_args(parser.parse_args(line))
    except (ValueError, TypeError, SystemExit) as error:
        return str(error) or type(error).__name__
    return ""


def options_of(parser: Parser) -> dict[str, Any]:
    return {
        flag: {"switch": action.nargs == 0, "choices": [str(c) for c in action.choices or ()]}
        for action in parser._actions
        for flag in action.option_strings
    }


main()
