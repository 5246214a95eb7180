"""The policy snapshot: built from live rows, kept as a version, told to the gateways.

1. Look what Redis has. 2. In one transaction, under a lock, build the document and keep it as a
new version when its content changed. 3. Outside the transaction, publish what Redis lacks.
"""

import hashlib

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from msgspec import json, structs

from tenants.base.scope import fleet_scope
from tenants.clients.redis import PolicyStore, policy_store
from tenants.errors import Unavailable
from tenants.models import Snapshot
from tenants.queries.policy import build_policy

log = structlog.get_logger(__name__)
KIND = "policy"
LOCK = 7_010_001  # one publisher at a time; routing has its own
KEEP = 200  # versions; usage rows name the versions that admitted them


def publish_policy(store: PolicyStore | None = None) -> int:
    """Bring gateways to what the rows say. Answers the version. Doing it again changes nothing."""
    store = store or policy_store(settings.REDIS_URL)
    seen = store.look()
    with fleet_scope():
        snapshot = keep_policy(above=seen.version)
    if seen.version != snapshot.version or not seen.has_document:
        store.publish(snapshot.version, bytes(snapshot.document))
        log.info("policy published", version=snapshot.version, before=seen.version)
    return snapshot.version


def keep_policy(*, above: int = 0) -> Snapshot:
    """Keep a new version if the content changed, or if Redis is ahead of a restored database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    now = timezone.now()
    wanted = build_policy(now)
    digest = hashlib.sha256(json.encode(wanted)).hexdigest()
    last = Snapshot.objects.filter(kind=KIND).order_by("-version").first()
    if last and last.digest == digest and last.version >= above:
        return last
    version = max(last.version if last else 0, above) + 1
    document = structs.replace(wanted, version=version, issued_at=now.timestamp())
    kept = Snapshot.objects.create(
        kind=KIND, version=version, digest=digest, document=json.encode(document)
    )
    Snapshot.objects.filter(kind=KIND, version__lte=version - KEEP).delete()
    return kept


def announce_revoked(digest: str) -> None:
    """Ring gateways after commit; should the bell be lost, the next policy closes the key."""

    def ring() -> None:
        try:
            policy_store(settings.REDIS_URL).announce_revoked(digest)
        except Unavailable as error:
            log.warning("revocation not announced, the policy will tell", error=error.message)

    transaction.on_commit(ring, robust=True)
