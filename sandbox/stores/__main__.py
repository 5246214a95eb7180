"""Run the stores alone: python -m sandbox.stores --data DIR [-- command that gets the URLs]."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from sandbox.stores.launcher import launch
from sandbox.stores.run_as import LaunchError
from sandbox.stores.server import say


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder for data, logs, sockets")
    parser.add_argument("--account", help="as root: the account to drop to")
    parser.add_argument("command", nargs="*", help="run this with the URLs in its environment")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        with launch(options.data, account=options.account) as running:
            if options.command:
                return _run_beside(options.command, running.urls)
            for key, url in running.urls.items():
                print(f"{key}={url}", flush=True)
            while True:
                running.check()
                time.sleep(0.5)
    except LaunchError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 0


def _run_beside(command: Sequence[str], urls: Mapping[str, str]) -> int:
    with subprocess.Popen(command, env=os.environ | urls) as process:
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
