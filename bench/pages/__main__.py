"""Queries and server time of every page with 300 tenants, 60 services and millions of requests.

python -m bench.pages [--events 5000000] [--runs 20] [--only NAME ...] [--keep DIR]

Makes a throw-away database, fills it, asks for each page in process as the operator, and prints
queries and milliseconds against the limits (30 queries, p95 150 ms). Status 1 when one is broken.
Beside the server time stands the CPU time that a page took of this process and of PostgreSQL, each
the least of all runs: on a quiet machine both together are about p50. On a busy one they are less
than p50, and say more than p95; compare them with those of a small page of the same minutes.
--keep DIR fills once and measures the same database again and again; new migrations are applied.
Pages that are newer than the database are named: fill another one to measure them.
"""

import argparse
import json
import re
import statistics
import sys
import time
from pathlib import Path

from bench.pages.cpu import Cpu
from bench.pages.database import database, fill, migrate

MOST_QUERIES = 30
MOST_MS = 150.0
# Statements of the transaction and of the scope, which every page has and which touch no table.
FRAME = re.compile(
    r"SAVEPOINT|RELEASE|ROLLBACK|BEGIN|COMMIT|SELECT set_config|SELECT coalesce\(current_setting"
)


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--events", type=int, default=5_000_000)
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--only", nargs="*", default=[], help="pages of these names")
    options.add_argument("--keep", type=Path, metavar="DIR", help="use and keep this folder")
    options.add_argument("--slow", action="store_true", help="show the queries of broken pages")
    given = options.parse_args()
    with database(given.keep) as sockets:
        migrate()
        addresses = prepared(sockets, given)
        client, cpu = signed_in(), Cpu(sockets.parent / "pg")
        wanted = given.only or list(addresses)
        broken = [n for n in wanted if not walk(client, n, addresses[n], cpu, given)]
    print(f"limits: {MOST_QUERIES} queries, p95 {MOST_MS:.0f} ms; {len(broken)} pages beyond them")
    return 1 if broken else 0


def prepared(sockets, options) -> dict[str, str]:
    """The addresses of all pages, over a full database. After django.setup."""
    from django.utils import timezone

    import console.asgi  # noqa: F401  # what the web process does at its start
    from tests.browser.registry import PAGES
    from tests.console.drill_scene import furnish_drill
    from tests.console.scene import make_scene
    from tests.console.sequence_scene import furnish_sequence

    kept = options.keep and options.keep / "addresses.json"
    if kept and kept.exists():
        known = json.loads(kept.read_text())
        if newer := sorted(PAGES.keys() - known.keys()):
            print(f"not measured, newer than this database: {', '.join(newer)}", flush=True)
        return known
    now = timezone.now()
    scene = furnish_drill(furnish_sequence(make_scene(now), now), now)  # one of everything
    addresses = {name: address(scene) for name, address in PAGES.items()}
    seconds = fill(sockets, options.events)
    size = f"{options.events:,} requests of 300 tenants on 60 services"
    print(f"{size}, filled in {seconds:.0f} s", flush=True)
    if kept:
        kept.write_text(json.dumps(addresses))
    return addresses


def signed_in():
    from django.test import Client

    from tenants.models import User

    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(User.objects.get(email="olga@example.test"))
    return client


def walk(client, name, address, cpu, options) -> bool:
    """Measure one page and print its line; whether it keeps the limits."""
    client.get(address)  # the first one compiles templates and marks the session as seen
    status, queries = count(client, address)
    runs = [timed(client, address, cpu) for _ in range(options.runs)]
    times, python, postgres = zip(*runs, strict=True)
    p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[18]
    good = status == 200 and len(queries) <= MOST_QUERIES and p95 <= MOST_MS
    verdict = "" if good else f"  BROKEN, status {status}"
    print(
        f"{name:20} {len(queries):3} queries  least {min(times):6.1f}  p50 {p50:6.1f}  "
        f"p95 {p95:6.1f} ms  CPU {min(python):5.1f} + {min(postgres):5.1f} ms{verdict}"
    )
    if options.slow and not good:
        for query in sorted(queries, key=lambda q: -float(q["time"]))[:5]:
            print(f"    {float(query['time']) * 1000:.0f} ms  {query['sql'][:1500]}")
    sys.stdout.flush()
    return good


def count(client, address):
    """Status, and the statements that touch tables."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        status = client.get(address).status_code
    return status, [query for query in captured if not FRAME.match(query["sql"])]


def timed(client, address, cpu) -> tuple[float, float, float]:
    """Milliseconds: of the clock, of this process, of PostgreSQL."""
    before, began = cpu.spent(), time.perf_counter()
    client.get(address)
    took = time.perf_counter() - began
    return (took * 1000, *(seconds * 1000 for seconds in cpu.since(before)))


if __name__ == "__main__":
    sys.exit(main())
