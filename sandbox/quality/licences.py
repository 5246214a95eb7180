"""List the licences of all pinned packages; refuse those that do not fit Apache-2.0.

python -m sandbox.quality.licences            compare docs/licences.md with what is installed
python -m sandbox.quality.licences --write    write it
"""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
PAGE = TREE / "docs" / "licences.md"
PINS = {"needed to run": "requirements/base.txt", "tests and checks only": "requirements/dev.txt"}
# LGPL libraries are used unmodified and replaceable, which their licence allows.
# Classifiers that say more than the licence does; read by hand.
KNOWN = {"qrcode": "BSD-3-Clause, with the MIT code of its ancestor"}
REFUSED = re.compile(r"(?<!L)GPL|AGPL|SSPL|BUSL|proprietary", re.IGNORECASE)
HEAD = """# Licences

Quartermaster is under the Apache License 2.0 (`LICENSE`). What it is installed with, each at the
version pinned in `requirements/`; vendored front-end files are in
`static/vendor/MANIFEST.md`, fonts of printed documents in `billing/clients/fonts/MANIFEST.md`.
Written by `python -m sandbox.quality.licences --write`.

| package | licence | used |
|---|---|---|
"""
FOOT = """
Built from their sources on the machine that tests, and no part of what is installed or handed on;
versions and checksums of these and of all modules that they need are in `go.mod` and `go.sum`
beside the builds in `sandbox/`:

| program | licence | used |
|---|---|---|
| Kubernetes (API server, controllers, scheduler, kubectl) | Apache-2.0 | sandbox |
| etcd | Apache-2.0 | sandbox |
| LeaderWorkerSet | Apache-2.0 | `make test-controllers` |
| Kueue | Apache-2.0 | `make test-controllers` |
"""


def pinned(path: str) -> set[str]:
    text = (TREE / path).read_text()
    return set(re.findall(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==", text, re.MULTILINE))


def licence(package: Distribution) -> str:
    """What the package declares: the expression, else its classifiers, else its free text."""
    meta = package.metadata
    if known := KNOWN.get(meta["Name"]):
        return known
    if expression := meta["License-Expression"]:
        return expression
    marks = [c.rpartition(" :: ")[2] for c in meta.get_all("Classifier", []) if "License ::" in c]
    words = marks or [(meta["License"] or "not declared").strip().splitlines()[0]]
    return ", ".join(words)[:80]


def rows() -> list[tuple[str, str, str]]:
    found, seen = [], set[str]()
    for used, path in PINS.items():
        for name in sorted(pinned(path) - seen):
            seen.add(name)
            try:
                found.append((name, licence(distribution(name)), used))
            except PackageNotFoundError:
                continue  # pinned for another platform
    return sorted(found)


def main() -> int:
    table = rows()
    bad = [f"{name}: {text}" for name, text, _ in table if REFUSED.search(text)]
    if bad:
        print("These licences do not fit:\n  " + "\n  ".join(bad))
        return 1
    page = HEAD + "".join(f"| {name} | {text} | {used} |\n" for name, text, used in table) + FOOT
    if "--write" in sys.argv:
        PAGE.write_text(page)
    elif not PAGE.exists() or PAGE.read_text() != page:
        print("docs/licences.md is old: run python -m sandbox.quality.licences --write")
        return 1
    print(f"{len(table)} packages, all with a licence that fits")
    return 0


if __name__ == "__main__":
    sys.exit(main())
