"""Record what the fleet costs besides GPUs. Lines are never changed, and known ones not doubled."""

from dataclasses import asdict, dataclass
from datetime import datetime

from django.db import connection, transaction

from billing.actions.exchange import LOCK as EXCHANGE_LOCK
from billing.models import OtherCost
from billing.rules.other_costs import keys_of, read_file
from tenants.actions.audit import record
from tenants.errors import Invalid
from tenants.rules.access import Permission, Viewer

LOCK = EXCHANGE_LOCK + 1
MOST_SHOWN = 20  # in the audit; who recorded each stands in its row


@dataclass(frozen=True, slots=True)
class Imported:
    new: int
    known: int


@transaction.atomic
def import_other_costs(viewer: Viewer, text: str, *, now: datetime) -> Imported:
    """All lines of a CSV file, ours or FOCUS, or none."""
    viewer.require(Permission.MANAGE_MONEY)
    parsed = read_file(text)
    if parsed.faults:
        raise Invalid(csv=". ".join(parsed.faults))
    with connection.cursor() as cursor:  # two at once would both take a line for new
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    keys = keys_of(parsed.rows, parsed.origins)
    # What was recorded by our own form, or before origins were kept, has a key without one.
    plain = keys_of(parsed.rows)
    there = OtherCost.objects.filter(key__in={*keys, *plain})
    known = set(there.values_list("key", flat=True))
    made = OtherCost.objects.bulk_create(
        (
            OtherCost(key=key, recorded_at=now, recorded_by=viewer.email, **asdict(row))
            for key, other, row in zip(keys, plain, parsed.rows, strict=True)
            if not {key, other} & known
        ),
        batch_size=2_000,
    )
    if made:
        after = {"new": len(made), "lines": [str(row) for row in made[:MOST_SHOWN]]}
        record(viewer, "other_cost.record", made[-1], after=after)
    return Imported(len(made), len(parsed.rows) - len(made))
