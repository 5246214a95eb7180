"""CPU time of this process and of a PostgreSQL server."""

import os
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


class Cpu:
    """Seconds spent, by `spent` and `since`: two numbers, this process and PostgreSQL."""

    def __init__(self, data: Path) -> None:
        self.postmaster = int((data / "postmaster.pid").read_text().split()[0])

    def spent(self) -> tuple[float, float]:
        return time.process_time(), self.living() + self.ended()

    def since(self, before: tuple[float, float]) -> tuple[float, float]:
        python, postgres = self.spent()
        return python - before[0], postgres - before[1]

    def living(self) -> float:
        """Of its processes, to the nanosecond: a page may take less than a tick."""
        return sum(self.nanoseconds(entry) for entry in Path("/proc").glob("[0-9]*")) / 1e9

    def nanoseconds(self, process: Path) -> int:
        try:
            if int(fields(process)[1]) != self.postmaster:
                return 0
            return int((process / "schedstat").read_text().split()[0])
        except OSError:
            return 0  # ended since it was listed

    def ended(self) -> float:
        """Of the workers of parallel queries, which end with their query."""
        stat = fields(Path(f"/proc/{self.postmaster}"))
        return (int(stat[13]) + int(stat[14])) / TICK


def fields(process: Path) -> list[str]:
    """Those behind the name, which may hold spaces: state, parent, ..."""
    return (process / "stat").read_text().rpartition(")")[2].split()
