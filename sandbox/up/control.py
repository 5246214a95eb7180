"""make down, make reset, make traffic-off, make traffic-on."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

from sandbox.up.folder import CONTENTS, LOCK, TRAFFIC_OFF, holder
from sandbox.up.options import data_folder

STOP_SECONDS = 90.0


def down(data: Path) -> int:
    pid = holder(data)
    if pid is None:
        print(f"Nothing runs on {data}.")
        return 0
    print(f"Stopping process {pid} ...", flush=True)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while holder(data) is not None:
        if time.monotonic() > deadline:
            print(f"Process {pid} has not stopped within {STOP_SECONDS:.0f} s.")
            return 1
        time.sleep(0.1)
    print("Stopped.")
    return 0


def reset(data: Path) -> int:
    """Delete what this program made, and nothing that somebody else put there."""
    if not (data / LOCK).exists():
        print(f"There is no installation in {data}.")
        return 0
    if os.environ.get("QM_RESET") != "yes":
        print(f"This stops Quartermaster and deletes all its data in {data}.")
        if input("Type yes to go on: ").strip() != "yes":
            print("Nothing was changed.")
            return 1
    if down(data):
        return 1
    for name in CONTENTS:
        path = data / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    print(f"Deleted. make up starts anew in {data}.")
    return 0


def switch_traffic(data: Path, *, on: bool) -> int:
    if not data.exists():
        print(f"There is no installation in {data}.")
        return 1
    if on:
        (data / TRAFFIC_OFF).unlink(missing_ok=True)
    else:
        (data / TRAFFIC_OFF).touch()
    print("The demo's clients speak." if on else "The demo's clients are silent.")
    return 0


def main() -> int:
    data = data_folder(os.environ)
    verbs = {
        "down": lambda: down(data),
        "reset": lambda: reset(data),
        "traffic-off": lambda: switch_traffic(data, on=False),
        "traffic-on": lambda: switch_traffic(data, on=True),
    }
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        print(f"say one of: {', '.join(verbs)}")
        return 2
    try:
        return verbs[sys.argv[1]]()
    except (EOFError, KeyboardInterrupt):
        print("Nothing was changed.")
        return 1


if __name__ == "__main__":
    sys.exit(main())
