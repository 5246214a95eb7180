"""Check a FOCUS 1.2 file with the official validator, offline.

    python -m sandbox.quality.focus FILE.csv|FILE.parquet

Status: 0 passed, 1 the file breaks a rule, 2 the check could not run. The validator needs Python
3.12 and numpy 1, so it lives in an environment of its own in the user's cache, made on first use
from `requirements/focus.txt`. QM_FOCUS_PYTHON names an interpreter that is not found by itself.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.bootstrap import TREE, cache, uv

REQUIREMENTS = TREE / "requirements" / "focus.txt"
PYTHON = "3.12"
VERSION = "1.2"  # the only rules that come with the validator
HELP = (
    f"The official FOCUS validator needs Python {PYTHON}, and none was found. Install one "
    f"(python{PYTHON} of the system, pyenv, or uv), or name it in QM_FOCUS_PYTHON."
)
# Of the validator's criteria, those that are true of a fleet that sells its GPUs. It ignores a
# misspelt one without a word, so they are compared with its own list.
CRITERIA = (
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "ACCOUNT_NAMING_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED",
    "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED",
    "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED",
    "REGION_SUPPORTED",
    "TAGGING_SUPPORTED",
    "PRICING_BILLING_CURRENCY_DIFFERENCES_SUPPORTED",
)
# Each of the first two fails on every correct file of one sort, filled or empty InvoiceId; the rule
# above them passes. The third forgets half of its condition: only purchases that cover *future*
# charges have no effective cost, and our fees and packages cover their own month.
ALLOWED = {"InvoiceId-C-004-C", "InvoiceId-C-005-C", "EffectiveCost-C-005-C"}


class CannotRun(Exception):
    """No verdict; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    passed: int
    skipped: int
    failed: tuple[str, ...]  # rules, without those that are allowed to fail


def pythons() -> Iterator[str]:
    """Where an interpreter may be, best first."""
    if named := os.environ.get("QM_FOCUS_PYTHON"):
        yield named
    kept = Path.home() / ".pyenv" / "versions"
    yield from sorted(str(path) for path in kept.glob(f"{PYTHON}.*/bin/python"))
    if found := shutil.which(f"python{PYTHON}"):
        yield found
    done = subprocess.run(
        [str(uv()), "python", "find", "--no-python-downloads", PYTHON],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        yield done.stdout.strip()


def find_python() -> str:
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in pythons():
        try:
            done = subprocess.run([path, "-c", show], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.stdout.strip() == PYTHON:
            return path
    raise CannotRun(HELP)


def environment() -> Path:
    """The validator's Python; the environment is made when absent or of other requirements."""
    venv, wanted = cache() / "focus-validator", REQUIREMENTS.read_text()
    mark = venv / "requirements.txt"
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "focus-validator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists() or mark.read_text() != wanted:
            python = find_python()
            run([str(uv()), "venv", "--quiet", "--clear", "--python", python, str(venv)])
            sync = [str(uv()), "pip", "sync", "--quiet", "--require-hashes"]
            run([*sync, "--python", str(venv / "bin" / "python"), str(REQUIREMENTS)])
            mark.write_text(wanted)
    return venv / "bin" / "python"


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"{Path(command[0]).name} {command[1]}: {done.stderr.strip()[-500:]}")


def validate(data: Path) -> Verdict:
    """Run the validator on a file. Its status is 0 even when rules fail: its report is read."""
    python = environment()
    rules = next((python.parents[1] / "lib").glob("python3*/site-packages/focus_validator/rules"))
    model = json.loads(max(rules.glob(f"model-{VERSION}*.json")).read_text())
    if unknown := set(CRITERIA) - set(model["ApplicabilityCriteria"]):
        raise CannotRun(f"The validator does not know {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="focus-") as scratch:
        # It opens this path relative to where it runs, and writes a log there.
        codes = Path(scratch, "focus_validator", "rules")
        codes.mkdir(parents=True)
        shutil.copy(rules / "currency_codes.csv", codes)
        report = Path(scratch, "report.xml")
        command = [str(python), "-m", "focus_validator.main", "--data-file", str(data.absolute())]
        command += ["--validate-version", VERSION, "--block-download"]
        command += ["--applicability-criteria", ",".join(CRITERIA)]
        command += ["--output-type", "unittest", "--output-destination", str(report)]
        done = subprocess.run(
            command, cwd=scratch, capture_output=True, text=True, check=False,
            env={"PATH": os.environ.get("PATH", ""), "HOME": scratch, "LOG_LEVEL": "ERROR"},
        )  # fmt: skip
        if done.returncode or not report.is_file():
            raise CannotRun(f"The validator stopped: {(done.stdout + done.stderr)[-500:]}")
        return read(report.read_bytes())


def read(report: bytes) -> Verdict:
    passed, skipped, failed = 0, 0, set()
    for case in ET.fromstring(report).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:  # a missing column is an error
            failed.add(case.get("name", "?").split(" ")[0])
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    if not passed:
        raise CannotRun("The validator passed no rule at all, which is no verdict")
    return Verdict(passed, skipped, tuple(sorted(failed - ALLOWED)))


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    try:
        verdict = validate(Path(sys.argv[1]))
    except CannotRun as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{verdict.passed} rules passed, {len(verdict.failed)} failed, {verdict.skipped} skipped")
    for rule in verdict.failed:
        print(f"  failed: {rule}")
    return 1 if verdict.failed else 0


if __name__ == "__main__":
    sys.exit(main())
