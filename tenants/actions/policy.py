"""The policy snapshot: built from live rows, told to the gateways; and news of revoked keys."""

import structlog
from django.conf import settings
from django.db import transaction

from tenants.actions.snapshots import POLICY, keep, publish
from tenants.clients.redis import PolicyStore, policy_store
from tenants.errors import Unavailable
from tenants.models import Snapshot
from tenants.queries.policy import build_policy

log = structlog.get_logger(__name__)


def publish_policy(store: PolicyStore | None = None) -> int:
    """Bring gateways to what the rows say. Answers the version. Doing it again changes nothing."""
    return publish(POLICY, build_policy, store or policy_store(settings.REDIS_URL))


def keep_policy(*, above: int = 0) -> Snapshot:
    return keep(POLICY, build_policy, above=above)


def announce_revoked(digest: str) -> None:
    """Ring gateways after commit; should the bell be lost, the next policy closes the key."""

    def ring() -> None:
        try:
            policy_store(settings.REDIS_URL).announce_revoked(digest)
        except Unavailable as error:
            log.warning("revocation not announced, the policy will tell", error=error.message)

    transaction.on_commit(ring, robust=True)
