"""Which versions of the snapshots are in force."""

from django.db.models import Max

from tenants.models import Snapshot


def current_versions() -> dict[str, int]:
    """Newest kept version by kind: what gateways ought to have applied within seconds."""
    rows = Snapshot.objects.values_list("kind").annotate(newest=Max("version")).order_by("kind")
    return dict(rows)
