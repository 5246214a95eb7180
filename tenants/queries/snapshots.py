"""Which versions of the snapshots are in force."""

from dataclasses import dataclass

from django.db.models import Max

from tenants.errors import Forbidden
from tenants.models import Snapshot
from tenants.rules.access import Viewer


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
