"""Every benchmark, one after another: `python -m bench [NAME ...]`.

Each is also a program of its own with options: `python -m bench.pages --help`. That of memory needs
a running `make up` and says so where none is. Status 1 when one fails or misses its limit.
"""

import argparse
import os
import subprocess
import sys

from sandbox.up.folder import holder
from sandbox.up.options import data_folder

BENCHMARKS = ("gateway", "billing", "pages", "rollouts", "fleet", "memory")


def main() -> int:
    options = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    names = options.parse_args().names or BENCHMARKS
    failed, unmeasured = [], []
    for name in names:
        print(f"\n=== {name}", flush=True)
        if name == "memory" and holder(data_folder(os.environ)) is None:
            print("No `make up` runs on QM_DATA.")
            unmeasured.append(name)
        elif subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode:
            failed.append(name)
    print(f"\nmissed: {', '.join(failed) or 'none'}", end="; ")
    print(f"not measured: {', '.join(unmeasured) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
