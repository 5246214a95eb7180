"""Generate the typed client of the REST API from its schema.

    python -m sandbox.quality.client FOLDER

The folder becomes a Python package that needs attrs, httpx and python-dateutil, and nothing of the
console. Fails when the schema has an operation that no client can be made for.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from sandbox.bootstrap import TREE

SCHEMA = TREE / "docs" / "api" / "openapi.yaml"
# PDF and Parquet are bytes to a client; Ruff's form of 600 files would take longer than the files.
SETTINGS = {
    "content_type_overrides": {
        "application/pdf": "application/octet-stream",
        "application/vnd.apache.parquet": "application/octet-stream",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": (
            "application/octet-stream"
        ),
    },
    "post_hooks": [],
}


def generate(folder: Path) -> None:
    """What is in the folder is replaced. Raises CalledProcessError with what stood in the way."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        yaml.safe_dump(SETTINGS, config)
        config.flush()
        command = [str(Path(sys.executable).with_name("openapi-python-client")), "generate"]
        command += ["--path", str(SCHEMA), "--config", config.name, "--meta", "none"]
        command += ["--output-path", str(folder), "--overwrite", "--fail-on-warning"]
        subprocess.run(command, check=True, capture_output=True, text=True)
    (folder / "py.typed").touch()


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    try:
        generate(Path(sys.argv[1]))
    except subprocess.CalledProcessError as error:
        print(error.stdout + error.stderr, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
