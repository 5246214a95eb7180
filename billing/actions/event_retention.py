"""How long requests stay: until their part is old enough and nothing needs them any more.

A part goes in one transaction: nobody adds to it from here on, what keeps it is looked at again,
what was in it is written down, and it is detached and dropped. So a worker that dies leaves either
the part or the record of it, never both and never neither. With QM_USAGE_ARCHIVE the record has to
name a file: the database names the newest one if its requests are those that go.

The whole's exclusive lock comes last and is held for the moment of the drop alone; who reads is
waited for a quarter of a second, and the next bell tries again. (PostgreSQL detaches without such
a lock only where there is no default part.)
"""

from datetime import datetime

import structlog
from django.conf import settings
from django.db import IntegrityError, OperationalError, connection

from billing.actions.archive import record_fault
from billing.models import DroppedPart
from billing.queries.event_parts import EventPart
from billing.queries.retention import what_keeps
from billing.rules.retention import rule_of
from tenants.actions.audit import record
from tenants.base.scope import fleet_scope
from tenants.rules.access import system_viewer

OTHERS = "requests came after it was written, or are others: it is written again"
log = structlog.get_logger(__name__)


class Unfiled(Exception):
    """Its file does not have the requests that would go."""


def drop_part(part: EventPart, now: datetime) -> int:
    """1: it went. 0: something keeps it, or was in the way for a moment."""
    try:
        return _drop(part, now)
    except Unfiled:
        record_fault(part.name, OTHERS)
    except OperationalError as error:
        log.warning("part of usage not dropped, tried again", part=part.name, error=error)
    except IntegrityError as error:
        log.error("part of usage may not be dropped", part=part.name, error=error)
    return 0


def _drop(part: EventPart, now: datetime) -> int:
    rule = rule_of(settings.QM_USAGE_MONTHS)
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT qm_hold_event_part(%s)", [part.name])
        if not cursor.fetchone()[0] or what_keeps([part], now)[part.name]:
            return 0
        cursor.execute("SELECT qm_keep_event_part(%s, %s)", [part.name, rule])
        kept = DroppedPart.objects.get(part=part.name)
        if settings.QM_USAGE_ARCHIVE and not kept.file:
            raise Unfiled(part.name)
        told = ("part", "ends_at", "requests", "sha256", "file", "file_sha256")
        after = {name: getattr(kept, name) for name in told}
        record(system_viewer("retention"), "usage_part.drop", kept, after=after, why=rule)
        cursor.execute("SELECT qm_drop_event_part(%s)", [part.name])
    return 1
