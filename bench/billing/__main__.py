"""Ingest, roll up, rate, price again, export, in one run on a throw-away database.

python -m bench.billing [--events 200000] [--tenants 50]

Prints events, hours and charges a second. One process, which shares its cores with PostgreSQL.
"""

import argparse
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import django
from django.core.management import call_command

from sandbox.stores.launcher import launch, scratch_folder

HOURS = 24 * 14
LIVE = timedelta(seconds=30)  # what a spool delivers: many requests in few slots of statistics
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


@contextmanager
def database(folder: Path) -> Iterator[None]:
    with launch(folder / "stores", throwaway=True) as running:
        os.environ |= running.urls | {
            "DJANGO_SETTINGS_MODULE": "console.settings",
            "QM_SECRET_KEY": "a-key-for-benchmarks-only-that-protects-nothing",
            "QM_DATA": str(folder / "data"),
        }
        django.setup()
        connection = django.db.connections["default"]
        application = connection.settings_dict["USER"]
        connection.settings_dict["USER"] = "console_owner"
        call_command("migrate", verbosity=0)
        connection.close()
        connection.close_pool()
        connection.settings_dict["USER"] = application
        yield


def event(tenant, number, part, span):
    """An event in [NOW - span, NOW), at `part` of it."""
    at = NOW - span + span * part
    ended = round(at.timestamp() * 1_000_000)
    name = str(uuid.uuid4())
    data = {
        "request_id": name,
        "tenant_id": tenant[0],
        "application_id": tenant[1],
        "credential_id": 1,
        "model": f"model-{number % 3}",
        "service_id": 1 + number % 3,
        "release_id": 1,
        "release": "rel-0123456789ab",
        "cluster": "dc1",
        "pod": "model-0-abcdef",
        "traffic_class": "interactive",
        "outcome": "served" if number % 20 else "cancelled",
        "stream": True,
        "http_status": 200,
        "finish_reason": "stop",
        "usage_quality": "final",
        "prompt_tokens": 900 + number % 200,
        "cached_tokens": number % 300,
        "completion_tokens": 100 + number % 100,
        "started_at": ended - 3_000_000,
        "finished_at": ended,
        "queue_ms": 1.5,
        "ttft_ms": 120.0 + number % 50,
        "itl_ms": 20.0,
        "gpu_ms": 2_900,
    }
    return {
        "specversion": "1.0",
        "id": name,
        "source": "gateway/w0",
        "type": "quartermaster.usage.v1",
        "time": "2026-11-20T12:30:00Z",
        "data": data,
    }


def bodies(tenants, events, size, span):
    for start in range(0, events, size):
        yield json.dumps(
            [
                event(tenants[n % len(tenants)], n, n / events, span)
                for n in range(start, min(events, start + size))
            ]
        ).encode()


def timed(label, unit, count, seconds, more=""):
    print(f"{label:<34} {count / seconds:>12,.0f} {unit}/s   {count:,} in {seconds:.2f} s {more}")


def run(options):
    # Django's apps can be imported only after django.setup().
    from bench.billing.parts import export, make_fleet, publish, rate_all, roll_all, send

    tenants, source = make_fleet(options.tenants)
    publish(Decimal("0.5"), NOW)
    for size in (500, 2_000, 10_000):
        events = max(size, options.events // 10)
        seconds = send(source, bodies(tenants, events, size, LIVE))
        timed(f"ingest live, batches of {size:,}", "events", events, seconds)
    sent = list(bodies(tenants, options.events, 5_000, timedelta(hours=HOURS)))
    timed("ingest history, batches of 5,000", "events", options.events, send(source, sent))
    timed("the same batches again", "events", options.events, send(source, sent))
    hours, seconds = roll_all()
    timed("roll up", "hours of tenants", hours, seconds)
    charges, seconds = rate_all()
    timed("rate", "charges", charges, seconds)
    publish(Decimal("0.4"), NOW - timedelta(hours=HOURS + 1))
    charges, seconds = rate_all()
    timed("rate again after a price change", "charges", charges, seconds)
    rows, seconds = export("focus-1.4")
    timed("export FOCUS 1.4", "rows", rows, seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--tenants", type=int, default=50)
    options = parser.parse_args()
    with scratch_folder() as folder, database(Path(folder)):
        run(options)


if __name__ == "__main__":
    main()
