"""Queries and server time of every page with 300 tenants, 60 services and millions of requests.

python -m bench.pages [--events 5000000] [--runs 20]

Makes a throw-away database, fills it, asks for each page in process as the operator, and prints
queries and milliseconds against the limits (30 queries, p95 150 ms). Status 1 when one is broken.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.core.management import call_command

from sandbox.stores.launcher import launch, scratch_folder
from sandbox.stores.postgres import connect_as_superuser

MOST_QUERIES = 30
MOST_MS = 150.0
SEED = Path(__file__).with_name("seed.sql")


@contextmanager
def database() -> Iterator[Path]:
    with scratch_folder() as folder, launch(folder / "stores", throwaway=True) as running:
        os.environ |= running.urls | {
            "DJANGO_SETTINGS_MODULE": "console.settings",
            "QM_SECRET_KEY": "a-key-for-benchmarks-only-that-protects-nothing",
            "QM_DATA": str(folder / "data"),
        }
        assert running.sockets is not None
        yield running.sockets


def migrate() -> None:
    """As the owner of the tables; the pages are then asked for as the application."""
    django.setup()
    connection = django.db.connections["default"]
    application = connection.settings_dict["USER"]
    connection.settings_dict["USER"] = "console_owner"
    call_command("migrate", verbosity=0)
    connection.close()
    connection.close_pool()
    connection.settings_dict["USER"] = application


def fill(sockets: Path, events: int) -> float:
    began = time.perf_counter()
    with connect_as_superuser(sockets, "console") as server:
        for statement in SEED.read_text().replace(":events", str(events)).split(";\n"):
            if statement.strip():
                server.execute(statement)
    with connect_as_superuser(sockets, "console") as server:
        server.autocommit = True
        server.execute("VACUUM ANALYZE")
    return time.perf_counter() - began


def measure(client, address: str, runs: int) -> tuple[int, list[float], int]:
    """Queries of one request, milliseconds of `runs` more, status."""
    from django.db import connection  # after django.setup
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        status = client.get(address).status_code
    control = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")
    queries = sum(not q["sql"].startswith(control) for q in captured)
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        client.get(address)
        times.append((time.perf_counter() - began) * 1000)
    return queries, times, status


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=5_000_000)
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--only", default="")
    given = options.parse_args()
    with database() as sockets:
        migrate()
        from django.test import Client  # after django.setup
        from django.utils import timezone

        from tests.browser.registry import PAGES
        from tests.console.scene import make_scene

        scene = make_scene(timezone.now())
        print(f"filled with {given.events} requests in {fill(sockets, given.events):.0f} s")
        client = Client(headers={"host": "127.0.0.1"})
        client.force_login(scene.olga)
        broken = 0
        print(f"{'page':28} {'queries':>8} {'p50 ms':>8} {'p95 ms':>8}")
        for name, address in PAGES.items():
            if given.only and given.only not in name:
                continue
            queries, times, status = measure(client, address(scene), given.runs)
            p95 = statistics.quantiles(times, n=20)[18]
            bad = queries > MOST_QUERIES or p95 > MOST_MS or status != 200
            broken += bad
            verdict = f"  BROKEN, status {status}" if bad else ""
            print(f"{name:28} {queries:8} {statistics.median(times):8.1f} {p95:8.1f}{verdict}")
        print(f"limits: {MOST_QUERIES} queries, p95 {MOST_MS:.0f} ms; {broken} pages beyond them")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
