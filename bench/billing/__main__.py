"""Ingest, roll up, rate, price again, export, close, drill, in one run on a throw-away database.

python -m bench.billing [--events 200000] [--tenants 300]
python -m bench.billing --export 1200000
python -m bench.billing --check 10000000
python -m bench.billing --fill 10000000
python -m bench.billing --growth 1000000 --tenants 100 --services 20

Prints events, charges, rows and invoices for each second of CPU, of Python and PostgreSQL together,
what part of the aim that is, and how long it took; at the end the time of pages over what was
billed, and of each step from an invoice to one request. Aims are those of a month with 10 million
requests, 1.2 million charges and 300 tenants; the run is smaller unless `--events` says otherwise,
and as dense. With `--export` only files are made, of so many charges; with `--fill` so many
requests are there already, and what follows ingest is timed: roll-up, rating, rating again; with
`--check` so many are rolled up and rated, and the sums of the books compared; with `--growth` it is
printed what a day of so many adds to each table, and how large its file is.
"""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import django
import msgspec
import uuid_utils
from django.core.management import call_command

from bench.billing.filled import DENSE
from bench.billing.watch import Watch
from bench.pages.cpu import Cpu
from gateway.contract.outcomes import Outcome, TrafficClass, UsageQuality
from gateway.contract.usage import UsageEvent
from gateway.metering import CloudEvent
from sandbox.stores.launcher import launch, scratch_folder

LIVE = timedelta(seconds=30)  # what a spool delivers: many requests in few slots of statistics
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


@contextmanager
def database(folder: Path) -> Iterator[Cpu]:
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
        assert running.sockets is not None
        yield Cpu(running.sockets.parent / "pg")


def event(tenant, number, part, span, end=NOW):
    """An event in [end - span, end), at `part` of it, as gateways write it: in the order of ids."""
    at = end - span + span * part
    ended = round(at.timestamp() * 1_000_000)
    name = str(uuid_utils.uuid7())
    data = UsageEvent(
        request_id=name,
        tenant_id=tenant[0],
        application_id=tenant[1],
        credential_id=1,
        model=f"model-{number % 3}",
        service_id=1 + number % 3,
        release_id=1,
        release="rel-0123456789ab",
        cluster="dc1",
        pod="model-0-abcdef",
        traffic_class=TrafficClass.INTERACTIVE,
        outcome=Outcome.SERVED if number % 20 else Outcome.CANCELLED,
        stream=True,
        http_status=200,
        finish_reason="stop",
        usage_quality=UsageQuality.FINAL,
        prompt_tokens=900 + number % 200,
        cached_tokens=number % 300,
        completion_tokens=100 + number % 100,
        started_at=ended - 3_000_000,
        finished_at=ended,
        queue_ms=1.5,
        ttft_ms=120.0 + number % 50,
        itl_ms=20.0,
        gpu_ms=2_900,
        worker="w0",
        limit_versions=(3, 9),
    )
    return CloudEvent(id=name, source="gateway/w0", time="2026-11-20T12:30:00Z", data=data)


def bodies(tenants, events, size, span):
    for start in range(0, events, size):
        yield msgspec.json.encode(
            [
                event(tenants[n % len(tenants)], n, n / events, span)
                for n in range(start, min(events, start + size))
            ]
        )


# A second: 10 M requests rolled up in 10 s, 1.2 M charges rated in 3 s and again in 6 s, as many
# rows of Parquet in 5 s, 300 tenants closed and billed in 5 minutes.
AIMS = {
    "ingest in process": 40_000,
    "ingest over HTTP": 10_000,
    "roll up": 1_000_000,
    "rate": 400_000,
    "rate again": 200_000,
    "FOCUS 1.4, Parquet": 240_000,
    "close and bill": 1,
}
LARGEST_MB = 500  # of an export


def said(label, unit, count, watch, aim="", more=""):
    by_cpu = count / watch.processor
    part = f"{by_cpu / AIMS[aim]:>6.2f} of the aim" if aim else " " * 17
    print(
        f"{label:<34} {by_cpu:>10,.1f} {unit}/CPU s {part}   {count:,} in {watch.wall:.2f} s,"
        f" {count / watch.wall:,.0f}/s, CPU {watch.python:.2f} + {watch.postgres:.2f} s{more}",
        flush=True,
    )


def span_of(options):
    return timedelta(hours=max(1, options.events // (options.tenants * DENSE)))


def run(options, cpu):
    # Django's apps can be imported only after django.setup().
    from bench.billing.drill import measure_pages
    from bench.billing.parts import close_month, make_fleet, publish

    tenants, source, secret = make_fleet(options.tenants)
    publish(Decimal("0.5"), NOW)
    take_in(options, cpu, tenants, source, secret)
    roll_up_all(options.events, cpu)
    rate_twice(span_of(options), cpu)
    export_all(cpu, ["parquet"])
    invoices = close_month(NOW, watch := Watch(cpu))
    said("close, bill, print PDFs", "invoices", invoices, watch, "close and bill")
    measure_pages(NOW, cpu)


def roll_up_all(events, cpu):
    from bench.billing.parts import roll_all

    roll_all(watch := Watch(cpu))
    said("roll up", "events", events, watch, "roll up")


def rate_twice(span, cpu):
    """As priced, and again with other prices since the first request."""
    from bench.billing.limit import copy_charges
    from bench.billing.parts import publish, rate_all

    charges = rate_all(watch := Watch(cpu))
    said("rate", "charges", charges, watch, "rate")
    copied = copy_charges(limit := Watch(cpu))
    more = f"; rating takes {watch.wall / limit.wall:.1f} times as long"
    said("limit: the same rows copied", "charges", copied, limit, more=more)
    publish(Decimal("0.4"), NOW - span)
    deltas = rate_all(watch := Watch(cpu))
    more = f", {deltas:,} rows written"
    said("rate again after a price change", "charges", charges, watch, "rate again", more)


def filled(options, cpu):
    from bench.billing.filled import fill
    from bench.billing.parts import make_fleet, publish

    make_fleet(options.tenants)
    publish(Decimal("0.5"), NOW)
    began = time.perf_counter()
    fill(options.fill, options.tenants, NOW)
    print(
        f"filled with {options.fill:,} requests in {time.perf_counter() - began:.0f} s", flush=True
    )
    options.events = options.fill
    roll_up_all(options.fill, cpu)
    rate_twice(span_of(options), cpu)


def export_all(cpu, file_types):
    from bench.billing.parts import export

    for file_type in file_types:
        rows, grown = export("focus-1.4", file_type, watch := Watch(cpu))
        more = f", {grown:.0f} MB more at most (limit {LARGEST_MB})"
        aim = "FOCUS 1.4, Parquet" if file_type == "parquet" else ""
        said(f"export FOCUS 1.4, {file_type}", "rows", rows, watch, aim, more)


def only_export(options, cpu):
    from bench.billing.parts import fill_charges, make_fleet, publish

    make_fleet(options.tenants)
    publish(Decimal("0.5"), NOW)
    fill_charges(options.export, options.tenants, NOW)
    export_all(cpu, ["parquet", "csv", "parquet"])


def only_check(options, cpu):
    from bench.billing.checked import MONTH, check, fill, slowest
    from bench.billing.parts import make_fleet, publish, rate_all, roll_all

    tenants, source, _ = make_fleet(options.tenants)
    publish(Decimal("0.5"), NOW)
    fill(tenants, source.source_id, options.check, NOW - MONTH, NOW)
    roll_all(watch := Watch(cpu))
    said("roll up", "events", options.check, watch, "roll up")
    charges = rate_all(watch := Watch(cpu))
    said("rate", "charges", charges, watch, "rate")
    with (watch := Watch(cpu)):
        sums = check(NOW - MONTH, NOW)
    said(f"check the books, {sums} sums", "events", options.check, watch)
    for seconds, sentence in slowest(NOW - MONTH):
        print(f"    {seconds:6.2f} s  {sentence}", flush=True)


def growth(options, cpu):
    from bench.billing.growth import measure

    measure(options.growth, options.tenants, options.services, event, cpu)


def take_in(options, cpu, tenants, source, secret):
    from bench.billing.parts import send
    from bench.billing.writers import send_by_two

    for size in (500, 2_000, 10_000):
        events = max(size, options.events // 10)
        send(source, bodies(tenants, events, size, LIVE), watch := Watch(cpu))
        said(f"ingest live, batches of {size:,}", "events", events, watch, "ingest in process")
    for size in (2_000, 10_000):
        # So many that what a process does once, at its first batch, is small beside them.
        events = max(2 * size, options.events)
        sent = list(bodies(tenants, events, size, LIVE))
        for label in (f"two writers, batches of {size:,}", "the same again, two writers"):
            send_by_two(source, sent, watch := Watch(cpu))
            said(label, "events", events, watch, "ingest in process")
    over_http(tenants, secret, max(20_000, options.events // 4), cpu)
    sent = list(bodies(tenants, options.events, 5_000, span_of(options)))
    send(source, sent, watch := Watch(cpu))
    said("ingest history, batches of 5,000", "events", options.events, watch)
    send(source, sent, watch := Watch(cpu))
    said("the same batches again", "events", options.events, watch, "ingest in process")


def over_http(tenants, secret, events, cpu):
    from bench.billing.http import console, send_over_http

    sent = list(bodies(tenants, events, 5_000, LIVE))
    with console() as (address, process):
        for label in ("ingest over HTTP, batches of 5,000", "the same again over HTTP"):
            watch = Watch(cpu, process)
            accepted = send_over_http(address, secret, sent, watch)
            more = f", {accepted:,} accepted"
            said(label, "events", events, watch, "ingest over HTTP", more)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--tenants", type=int, default=300)
    parser.add_argument("--export", type=int, help="only make files, of so many charges")
    parser.add_argument("--check", type=int, help="only check the books, of so many requests")
    parser.add_argument("--fill", type=int, help="only from roll-up to rating, of so many requests")
    parser.add_argument("--growth", type=int, help="only what a day of so many adds to each table")
    parser.add_argument("--services", type=int, default=20, help="with --growth")
    options = parser.parse_args()
    ways = {"export": only_export, "check": only_check, "fill": filled, "growth": growth}
    part = next((way for name, way in ways.items() if getattr(options, name)), run)
    with scratch_folder() as folder, database(Path(folder)) as cpu:
        part(options, cpu)


if __name__ == "__main__":
    main()
