"""How long requests stay: until their part is old enough and nothing needs them any more.

A part goes in one transaction: nobody adds to it from here on, what keeps it is looked at again,
what was in it is written down, and it is detached and dropped. So a worker that dies leaves either
the part or the record of it, never both and never neither.

The whole's exclusive lock comes last and is held for the moment of the drop alone; who reads is
waited for a quarter of a second, and the next bell tries again. (PostgreSQL detaches without such
a lock only where there is no default part.)
"""

from datetime import datetime

import structlog
from django.conf import settings
from django.db import IntegrityError, OperationalError, connection

from billing.models import DroppedPart
from billing.queries.event_parts import EventPart, event_parts
from billing.queries.retention import what_keeps
from billing.rules.retention import goes_at, rule_of
from tenants.actions.audit import record
from tenants.base.scope import fleet_scope
from tenants.rules.access import system_viewer

log = structlog.get_logger(__name__)


def drop_parts(now: datetime) -> int:
    """Drop those that may go, the oldest first; answers how many went."""
    months = settings.QM_USAGE_MONTHS
    due = [p for p in event_parts() if (at := goes_at(p.ends_at, months)) and at <= now]
    with fleet_scope():
        why = what_keeps(due, now)
    return sum(_drop(part, now) for part in due if not why[part.name])


def _drop(part: EventPart, now: datetime) -> int:
    rule = rule_of(settings.QM_USAGE_MONTHS)
    try:
        with fleet_scope(), connection.cursor() as cursor:
            cursor.execute("SELECT qm_hold_event_part(%s)", [part.name])
            if not cursor.fetchone()[0] or what_keeps([part], now)[part.name]:
                return 0
            cursor.execute("SELECT qm_keep_event_part(%s, %s)", [part.name, rule])
            kept = DroppedPart.objects.get(part=part.name)
            after = {name: getattr(kept, name) for name in ("part", "ends_at", "requests")}
            after |= {"sha256": kept.sha256}
            record(system_viewer("retention"), "usage_part.drop", kept, after=after, why=rule)
            cursor.execute("SELECT qm_drop_event_part(%s)", [part.name])
    except OperationalError as error:
        log.warning("part of usage not dropped, tried again", part=part.name, error=error)
        return 0
    except IntegrityError as error:
        log.error("part of usage may not be dropped", part=part.name, error=error)
        return 0
    return 1
