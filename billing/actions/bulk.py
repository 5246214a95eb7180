"""Statements over many rows at once: tables to work in, memory for them, and plans that hash."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

NAMES = (
    "work_mem",
    "enable_sort",
    "default_statistics_target",
    "max_parallel_workers_per_gather",
)
READ = "SELECT " + ", ".join(f"current_setting('{name}')" for name in NAMES)
WRITE = "SELECT " + ", ".join(f"set_config('{name}', %s, true)" for name in NAMES)
# To analyze a working table is to count its rows; lanes are what uses the other cores.
BULK = ("64MB", "off", "1", "0")


@contextmanager
def in_bulk(cursor: Any) -> Iterator[None]:
    """Sums of a pass fit into memory, but to the planner rows behind a policy look few, and it
    would rather sort them all. What follows in the same transaction is planned as before.
    """
    cursor.execute(READ)
    before = cursor.fetchone()
    cursor.execute(WRITE, BULK)
    yield
    cursor.execute(WRITE, before)


def make_working_tables(cursor: Any, tables: Mapping[str, str]) -> None:
    """Empty ones of this transaction. `tables`: their columns by name."""
    for name, fields in tables.items():
        cursor.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({fields}) ON COMMIT DELETE ROWS"
        )
        cursor.execute(f"DELETE FROM {name}")  # a pass in the same transaction left some
