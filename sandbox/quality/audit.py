"""Ask the package index for known vulnerabilities of everything that is pinned.

An index that has no answers is reported as such, never as a clean bill: the check then passes
with the reason printed, because a mirror in a closed network cannot know.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FILES = ("requirements/dev.txt", "requirements/bootstrap.txt")


@dataclass(frozen=True)
class Audit:
    checked: int
    unknown: tuple[str, ...]  # packages that the index had no answer for
    vulnerable: tuple[str, ...]  # one line each, with what to do

    @property
    def passed(self) -> bool:
        return not self.vulnerable


def read_report(text: str) -> Audit:
    """Read the JSON of pip-audit."""
    packages = json.loads(text)["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {flaw['id']}, "
        f"fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for package in packages
        for flaw in package.get("vulns", ())
    ]
    unknown = tuple(package["name"] for package in packages if "skip_reason" in package)
    return Audit(len(packages) - len(unknown), unknown, tuple(found))


def main() -> int:
    program = Path(sys.executable).with_name("pip-audit")
    failed = False
    for name in FILES:
        command = [str(program), "--disable-pip", "--require-hashes", "--format", "json"]
        command += ["--progress-spinner", "off", "-r", name]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if not answer.stdout.startswith("{"):
            reason = (answer.stderr.strip().splitlines() or ["no answer"])[-1]
            print(f"{name}: NOT AUDITED, the vulnerability service does not answer: {reason}")
            continue
        audit = read_report(answer.stdout)
        print(f"{name}: {audit.checked} packages audited, {len(audit.vulnerable)} flaws")
        if audit.unknown:
            print(f"  NOT AUDITED, unknown to this package index: {', '.join(audit.unknown)}")
        print("".join(f"  {line}\n" for line in audit.vulnerable), end="")
        failed = failed or not audit.passed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
