"""Run the stores alone.

python -m sandbox.stores --data DIR                    until Ctrl-C; prints the URLs
python -m sandbox.stores --data DIR -- COMMAND ...     as long as the command, which gets the URLs
python -m sandbox.stores --throwaway -- COMMAND ...    on a folder that is removed afterwards
"""

import argparse
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from sandbox.stores.launcher import launch, scratch_folder
from sandbox.stores.run_as import LaunchError
from sandbox.stores.server import say


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", type=Path, help="folder for data, logs, sockets")
    where.add_argument("--throwaway", action="store_true", help="a fast folder, removed at the end")
    parser.add_argument("--account", help="as root: the account to drop to")
    parser.add_argument("command", nargs="*", help="run this with the URLs in its environment")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        with ExitStack() as stack:
            return _serve(options, stack)
    except LaunchError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 0


def _serve(options: argparse.Namespace, stack: ExitStack) -> int:
    folder = options.data or stack.enter_context(scratch_folder())
    running = stack.enter_context(
        launch(
            folder,
            account=options.account,
            throwaway=options.throwaway,
            quiet=options.throwaway,
        )
    )
    if options.command:
        # The console refuses to start without a key; one that nobody keeps protects nothing.
        fresh = {"QM_SECRET_KEY": secrets.token_hex(32)} | running.urls
        return _run_beside(options.command, fresh | dict(os.environ) | running.urls)
    for key, url in running.urls.items():
        print(f"{key}={url}", flush=True)
    while True:
        running.check()
        time.sleep(0.5)


def _run_beside(command: Sequence[str], environment: Mapping[str, str]) -> int:
    with subprocess.Popen(command, env=environment) as process:
        # The terminal sends Ctrl-C to the command too: wait for it, then stop the servers.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return process.wait()


def _interrupt(*_: object) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):  # once: a second one must not cut the stop short
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
