"""A Chromium for the browser tests: one that is there, else from the system's packages as root."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FONTS = "fonts-liberation"


def find() -> str | None:
    """Return the program, CHROMIUM in the environment first."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def main() -> int:
    if not find() and os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Chromium from the system's packages ...", flush=True)
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["update"],
            ["install", "-y", "--no-install-recommends", "chromium", FONTS],
        ):
            done = subprocess.run(
                ["apt-get", "-qq", *command], env=quiet, stdout=subprocess.DEVNULL, check=False
            )
            if done.returncode:
                print(f"apt-get {command[0]} failed with status {done.returncode}")
                break
    found = find()
    print(f"Chromium: {found}" if found else "Chromium: none. Install it, or set CHROMIUM=/path.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
