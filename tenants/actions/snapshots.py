"""Snapshots for gateways: kept as versions, told through Redis.

1. Look what Redis has. 2. In one transaction, under a lock, build the document and keep it as a
new version when its content changed. 3. Outside the transaction, publish what Redis lacks.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from msgspec import json, structs

from tenants.base.scope import fleet_scope
from tenants.clients.redis import SnapshotStore, routing_store
from tenants.errors import Unavailable
from tenants.models import RoutingReader, Snapshot
from tenants.models.snapshot import LONGEST_NAME

log = structlog.get_logger(__name__)
KEEP = 200  # versions; usage rows name the versions that admitted them
KEEP_READERS = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Kind:
    """`lock` lets one publisher of the kind work at a time."""

    name: str
    lock: int


POLICY = Kind("policy", 7_010_001)
ROUTING = Kind("routing", 7_010_002)

# Answers a snapshot of gateway.contract with version 0 and no time: its content.
Build = Callable[[datetime], Any]


def publish_routing(build: Build, store: SnapshotStore | None = None) -> int:
    """Bring gateways to what `build` says. Answers the version. Again changes nothing."""
    return publish(ROUTING, build, store or routing_store(settings.REDIS_URL))


def publish(kind: Kind, build: Build, store: SnapshotStore) -> int:
    try:
        seen = store.look()
    except Unavailable:
        with fleet_scope():
            keep(kind, build)  # gateways that lost Redis as well ask the console for it
        raise
    with fleet_scope():
        snapshot = keep(kind, build, above=seen.version)
    if seen.version != snapshot.version or not seen.has_document:
        store.publish(snapshot.version, bytes(snapshot.document))
        log.info("published", kind=kind.name, version=snapshot.version, before=seen.version)
    return snapshot.version


def keep(kind: Kind, build: Build, *, above: int = 0) -> Snapshot:
    """Keep a new version if the content changed, or if Redis is ahead of a restored database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [kind.lock])
    now = timezone.now()
    wanted = build(now)
    digest = hashlib.sha256(json.encode(wanted)).hexdigest()
    last = Snapshot.objects.filter(kind=kind.name).order_by("-version").first()
    if last and last.digest == digest and last.version >= above:
        return last
    version = max(last.version if last else 0, above) + 1
    document = structs.replace(wanted, version=version, issued_at=now.timestamp())
    kept = Snapshot.objects.create(
        kind=kind.name, version=version, digest=digest, document=json.encode(document)
    )
    Snapshot.objects.filter(kind=kind.name, version__lte=version - KEEP).delete()
    return kept


def note_reader(worker: str, version: int, now: datetime) -> None:
    """A worker without Redis has `version` and asks for more: rollouts hear of it by this."""
    RoutingReader.objects.bulk_create(
        [RoutingReader(worker=worker[:LONGEST_NAME], version=version, asked_at=now)],
        update_conflicts=True,
        unique_fields=["worker"],
        update_fields=["version", "asked_at"],
    )


def forget_readers() -> None:
    """Names change with every start of a gateway."""
    RoutingReader.objects.filter(asked_at__lt=Now() - KEEP_READERS).delete()
