"""What a day of requests adds to each table: rows and bytes with indexes, counted in PostgreSQL.

Requests come evenly through yesterday in batches of ten seconds, through the door that gateways
send to; each tenant uses four of the services. Every hour is rolled up and rated once it is over,
and its GPU cost shared. Engines' samples and probes of the day are written by the database itself.
"""

import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
from django.db import connection
from django.utils import timezone

from bench.billing.parts import SYSTEM, make_fleet, publish, rate_all, roll_all
from bench.billing.watch import Watch
from billing.actions.allocation import allocate_due
from billing.actions.arrivals import fold_arrivals
from billing.actions.ingest import ingest
from billing.actions.node_prices import set_gpu_prices
from billing.clients.store import Folder
from billing.drive.archive import keep_file
from billing.queries.event_parts import event_parts
from fleet.models import Cluster, GpuTime, Service
from tenants.base.scope import fleet_scope

DAY, HOUR, BATCH = timedelta(days=1), timedelta(hours=1), timedelta(seconds=10)
EACH = 4  # services that a tenant uses
ENGINES = 2  # of a service, of one GPU each
FOREVER = "for ever"
# How many days a row stays, by table and length of slot: what `docs/operators/storage.md` says.
KEPT = {
    "usage_event": "QM_USAGE_MONTHS",
    "usage_seen": 70,
    "traffic_slot 10": 1 / 3,
    "latency_slot 10": 1 / 3,
    "traffic_slot 300": 120,
    "latency_slot 300": 120,
    "engine_sample": 2,
    "engine_probe": 2,
}
TABLES = """
SELECT quote_ident(c.relname), sum(pg_total_relation_size(coalesce(i.inhrelid, c.oid)))::bigint
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhparent = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
GROUP BY 1 ORDER BY 1
"""
SLOTS = "SELECT seconds, count(*) FROM {} GROUP BY 1 ORDER BY 1"
SAMPLED = """
INSERT INTO engine_sample (pod_uid, service_id, release_id, at, running, waiting, kv_usage,
    preemptions, prompt_tokens, generation_tokens, cached_tokens, steps)
SELECT md5(s.id::text || e), s.id, 1, %(start)s + n * interval '5 s', 4, 1, 0.4, 0, 1000 * n,
    400 * n, 10 * n, n
FROM generate_series(0, 17279) AS n, service s, generate_series(1, %(engines)s) AS e ORDER BY n
"""
PROBED = """
INSERT INTO engine_probe (pod_uid, service_id, at, passed, milliseconds, prompt_tokens,
    completion_tokens, told)
SELECT md5(s.id::text || e), s.id, %(start)s + n * interval '30 s', true, 12.5, 5, 1, 'rel-01'
FROM generate_series(0, 2879) AS n, service s, generate_series(1, %(engines)s) AS e ORDER BY n
"""


def measure(requests: int, tenants: int, services: int, event, cpu) -> None:
    """Print a line for each table that grew, then what the file of the day takes."""
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - DAY
    people, source, _ = make_fleet(tenants)
    publish(Decimal("0.5"), start + DAY, models=services)
    names = make_services(services, start)
    before = counted()
    began = time.perf_counter()
    for hour in range(24):
        at = start + hour * HOUR
        for body, until in batches(people, names, requests // 24, at, event):
            ingest(source, body, now=until)
        roll_all(Watch(cpu))
        rate_all(Watch(cpu))
        while fold_arrivals(timezone.now()):
            pass
    while allocate_due(timezone.now()):
        pass
    with fleet_scope(), connection.cursor() as cursor:
        for statement in (SAMPLED, PROBED):
            cursor.execute(statement, {"start": start, "engines": ENGINES})
    print(f"a day of {requests:,} requests was made in {time.perf_counter() - began:.0f} s")
    said(before, counted())
    archive(requests, start)


def make_services(count: int, start: datetime) -> list[int]:
    """Their numbers; each has GPUs that serve all day, and the cluster some that are free."""
    with fleet_scope():
        cluster = Cluster.objects.create(slug="dc1", name="DC 1", region="here")
        names = [f"service-{n}" for n in range(count)]
        made = [Service.objects.create(name=n, cluster=cluster) for n in names]
        prices = {"H100": Decimal("2.60")}
        earlier = start - 30 * DAY
        set_gpu_prices(
            SYSTEM,
            currency="USD",
            hourly=prices,
            starts_at=earlier,
            now=timezone.now(),
            why="bench",
        )
        GpuTime.objects.bulk_create(
            GpuTime(
                hour=start + n * HOUR, cluster=cluster, gpu_product="H100", service=service,
                state="serving" if service else "free", gpu_ms=ENGINES * 3_600_000,
            )
            for n in range(24) for service in (*made, None)
        )  # fmt: skip
    return [service.pk for service in made]


def batches(people, services: list[int], count: int, hour: datetime, event):
    """Bodies of ten seconds each, and when each was sent."""
    steps = HOUR // BATCH
    for step in range(steps):
        rows = []
        for n in range(count * step // steps, count * (step + 1) // steps):
            place = n % len(people)
            chosen = (place + n // len(people) % EACH) % len(services)
            made = event(people[place], n, n / count, HOUR, hour + HOUR)
            data = msgspec.structs.replace(
                made.data, service_id=services[chosen], model=f"model-{chosen}"
            )
            rows.append(msgspec.structs.replace(made, data=data))
        if rows:
            yield msgspec.json.encode(rows), hour + (step + 1) * BATCH


def counted() -> dict[str, tuple[int, int]]:
    """Rows and bytes by table; those of slots by their length, and bytes in proportion."""
    connection.close()
    found = {}
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute(TABLES)
        for table, size in cursor.fetchall():
            cursor.execute(f"SELECT count(*) FROM {table}")
            rows = cursor.fetchone()[0]
            if not (table.endswith("_slot") and rows):
                found[table] = rows, size
                continue
            cursor.execute(SLOTS.format(table))
            for seconds, part in cursor.fetchall():
                found[f"{table} {seconds}"] = part, size * part // rows
    return found


def said(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> None:
    grown = {
        name: (rows - before.get(name, (0, 0))[0], size - before.get(name, (0, 0))[1])
        for name, (rows, size) in after.items()
    }
    print(
        f"{'table':<24} {'rows a day':>12} {'B a row':>8} {'MB a day':>9} {'days kept':>16} MB then"
    )
    for name, (rows, size) in sorted(grown.items(), key=lambda item: -item[1][1]):
        if rows <= 0 or size <= 0:
            continue
        kept = KEPT.get(name, FOREVER)
        then = f"{size * kept / 1e6:,.0f}" if not isinstance(kept, str) else ""
        shown = kept if isinstance(kept, str) else f"{kept:.2g}" if kept < 1 else f"{kept}"
        print(
            f"{name:<24} {rows:>12,} {size / rows:>8.0f} {size / 1e6:>9.1f} {shown:>16} {then:>7}",
            flush=True,
        )
    print(f"{'all':<24} {'':>12} {'':>8} {sum(size for _, size in grown.values()) / 1e6:>9.1f}")


def archive(requests: int, start: datetime) -> None:
    (part,) = [p for p in event_parts() if p.has(start)]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        if not keep_file(Folder(Path(folder), is_private=True), part):
            raise SystemExit("the file of the day was not written")
        took = time.perf_counter() - began
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - grown
    print(
        f"file of the day, written and read back: {took:.1f} s, {requests / took:,.0f} requests/s,"
        f" {size / 1e6:.1f} MB, {size / requests:.0f} B a request, {grown:.0f} MB of memory more"
    )
