"""Record exchange rates. They are never changed: a later row of the same day takes its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db import connection, transaction

from billing.actions.rollup import LOCK as ROLL_UP_LOCK
from billing.models import ExchangeRate
from billing.rules.exchange import Recorded, faults_of_rate, read_file
from tenants.actions.audit import record
from tenants.errors import Invalid
from tenants.rules.access import Permission, Viewer

LOCK = ROLL_UP_LOCK + 40  # of advisory locks
MOST_SHOWN = 20  # in the audit; who recorded each stands in its row
Key = tuple[str, str, date, str]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file."""

    new: int
    corrected: int  # new as well, of a day that had another rate
    known: int  # word for word there already


@transaction.atomic
def record_rate(viewer: Viewer, given: Recorded, *, now: datetime) -> Imported:
    viewer.require(Permission.MANAGE_MONEY)
    if faults := faults_of_rate(given, now.date()):
        raise Invalid(**faults)
    return _write(viewer, [given], now)


@transaction.atomic
def import_rates(viewer: Viewer, text: str, *, now: datetime) -> Imported:
    """All rates of a CSV file, or none. What is there already is not written again."""
    viewer.require(Permission.MANAGE_MONEY)
    parsed = read_file(text, now.date())
    if parsed.faults:
        raise Invalid(csv=". ".join(parsed.faults))
    return _write(viewer, parsed.rows, now)


def _write(viewer: Viewer, rows: Sequence[Recorded], now: datetime) -> Imported:
    with connection.cursor() as cursor:  # two at once would both take a rate for new
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    held = _held(rows)
    fresh, corrected = [], 0
    for row in rows:
        key = row.base, row.quote, row.on, row.source.strip()
        if held.get(key) == row.rate:
            continue
        corrected += key in held
        held[key] = row.rate
        fresh.append(row)
    made = ExchangeRate.objects.bulk_create(
        ExchangeRate(
            base=row.base,
            quote=row.quote,
            on=row.on,
            source=row.source.strip(),
            rate=row.rate,
            recorded_at=now,
            recorded_by=viewer.email,
        )
        for row in fresh
    )
    if made:
        shown = [f"{rate} {rate.rate:f}" for rate in made[:MOST_SHOWN]]
        after = {"new": len(made), "corrected": corrected, "rates": shown}
        record(viewer, "exchange_rate.record", made[-1], after=after)
    return Imported(len(fresh), corrected, len(rows) - len(fresh))


def _held(rows: Sequence[Recorded]) -> dict[Key, Decimal]:
    """The rates that hold now, of the days and currencies in question."""
    found = ExchangeRate.objects.filter(
        on__in={row.on for row in rows},
        base__in={row.base for row in rows},
        source__in={row.source.strip() for row in rows},
    )
    return {(r.base, r.quote, r.on, r.source): r.rate for r in found.order_by("id")}
