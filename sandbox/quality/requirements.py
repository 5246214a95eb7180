"""Compile pyproject.toml again: the committed requirements must be what it says.

python -m sandbox.quality.requirements            compare
python -m sandbox.quality.requirements --write    write them
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sandbox.bootstrap import TREE, uv

FILES = {
    "requirements/base.txt": ("--extra", "dev-server"),
    "requirements/dev.txt": ("--extra", "dev", "--extra", "dev-server"),
}
FLAGS = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url")


def compile_into(target: Path, extras: tuple[str, ...]) -> None:
    """Versions already in the target stay, so the answer changes only when the question does."""
    command = [str(uv()), "pip", "compile", "--quiet", "pyproject.toml", *extras, *FLAGS]
    command += ["--custom-compile-command", "make requirements", "-o", str(target)]
    subprocess.run(command, cwd=TREE, check=True)


def main() -> int:
    stale = []
    for name, extras in FILES.items():
        if "--write" in sys.argv:
            compile_into(TREE / name, extras)
            continue
        with tempfile.TemporaryDirectory() as scratch:
            again = Path(scratch) / "again.txt"
            shutil.copy(TREE / name, again)
            compile_into(again, extras)
            if again.read_bytes() != (TREE / name).read_bytes():
                stale.append(name)
    for name in stale:
        print(f"{name} does not match pyproject.toml: run make requirements")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
