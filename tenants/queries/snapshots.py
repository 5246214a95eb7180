"""Which versions of the snapshots are in force, and which gateways read routing from them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max

from tenants.errors import Forbidden
from tenants.models import RoutingReader, Snapshot
from tenants.rules.access import Viewer

ASKS = timedelta(seconds=15)  # without a question for so long, a gateway is gone or has Redis


@dataclass(frozen=True, slots=True)
class Newest:
    version: int
    document: bytes  # JSON of gateway.contract


def current_versions() -> dict[str, int]:
    """Newest kept version by kind: what gateways ought to have applied within seconds."""
    rows = Snapshot.objects.values_list("kind").annotate(newest=Max("version")).order_by("kind")
    return dict(rows)


def newest_routing() -> Newest | None:
    row = Snapshot.objects.filter(kind="routing").order_by("-version").first()
    return Newest(row.version, bytes(row.document)) if row else None


def routing_above(viewer: Viewer, version: int) -> Newest:
    """For a gateway that has `version`: without a document where there is nothing newer."""
    if viewer.source_id is None:
        raise Forbidden("Only a usage source's credential (qms_...) opens the door for gateways")
    newest = current_versions().get("routing", 0)
    found = newest_routing() if newest > version else None
    return found or Newest(newest, b"")


@dataclass(frozen=True, slots=True)
class Reader:
    """A gateway's worker without Redis, and the routing that it applied when it asked for more."""

    worker: str
    version: int
    age_seconds: float


def routing_readers(now: datetime) -> list[Reader]:
    rows = RoutingReader.objects.filter(asked_at__gt=now - ASKS).order_by("worker")
    return [
        Reader(row.worker, row.version, max((now - row.asked_at).total_seconds(), 0.0))
        for row in rows
    ]
