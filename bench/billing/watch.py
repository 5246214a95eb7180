"""Wall and CPU time of a step. On a quiet machine both are alike, because one waits for the other;
on a busy one the wall says how busy it is, and the CPU still what the step costs."""

import time
from pathlib import Path

from bench.pages.cpu import TICK, Cpu, fields


class Watch:
    """`with watch:` around what counts, as often as it comes. CPU of a Python process and of
    PostgreSQL; other than this one, where another does the work."""

    def __init__(self, cpu: Cpu, process: int | None = None) -> None:
        self.cpu, self.process = cpu, process
        self.wall = self.python = self.postgres = 0.0

    def __enter__(self) -> "Watch":
        # PostgreSQL first: to look through all processes of a machine is no part of the step.
        postgres = self.cpu.spent()[1]
        self.began = (time.perf_counter(), self.worked(), postgres)
        return self

    def __exit__(self, *_: object) -> None:
        wall, python, postgres = self.began
        self.python += self.worked() - python
        self.wall += time.perf_counter() - wall
        self.postgres += self.cpu.spent()[1] - postgres

    def worked(self) -> float:
        if self.process is None:
            return time.process_time()
        stat = fields(Path(f"/proc/{self.process}"))
        return (int(stat[11]) + int(stat[12])) / TICK

    @property
    def processor(self) -> float:
        return self.python + self.postgres
