"""Register the demo's clusters; look again when a credential or address has changed."""

import hashlib
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from console.demo.cast import LARGE
from console.demo.credentials import Credentials
from console.demo.services import (
    MACHINE,
    PLACEMENT,
    SERVICES,
    DemoService,
    create_service,
    rows_by_name,
)
from fleet.actions import clusters, services
from fleet.actions.placements import set_placements
from fleet.queries.clusters import ClusterRow, list_clusters
from tenants.base.scope import fleet_scope

WHY = "The demo's cluster"
WHY_TWICE = "The demo's second cluster"


def register_cluster(
    kept: Credentials, kubeconfig: Path, *, slug: str, name: str, region: str
) -> Credentials:
    """Ask the cluster, then write it down. The same kubeconfig again changes nothing."""
    text = kubeconfig.read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()
    row = find_cluster(slug)
    known = kept.get("kubeconfigs_sha256", {})
    if row and known.get(slug) == digest:
        return kept
    examined = clusters.examine(MACHINE, kubeconfig=text)
    with fleet_scope():
        if row:
            clusters.change(MACHINE, row.id, None, examined=examined, why="A new credential")
        else:
            clusters.register(MACHINE, examined, slug=slug, name=name, region=region)
    return kept | {"kubeconfigs_sha256": known | {slug: digest}}


def find_cluster(slug: str) -> ClusterRow | None:
    with fleet_scope():
        rows = list_clusters(MACHINE, timezone.now())
    return next((row for row in rows if row.slug == slug), None)


def place_services(slug: str) -> tuple[DemoService, ...]:
    """Bind the demo's services to the cluster, those that have no cluster yet; return them."""
    cluster = find_cluster(slug)
    with fleet_scope():
        known = rows_by_name()
        for row in (known[demo.name] for demo in SERVICES):
            if cluster and row.cluster_id is None:
                services.change(MACHINE, row.id, None, cluster_id=cluster.id, why=WHY)
    return SERVICES


def place_large_too(slug: str) -> tuple[DemoService, ...]:
    """Let the large service answer in this cluster too, once: what people change stays."""
    cluster = find_cluster(slug)
    with fleet_scope(), transaction.atomic():
        known = rows_by_name()
        if cluster and PLACEMENT.name not in known:
            made = create_service(PLACEMENT)
            services.change(MACHINE, made, None, cluster_id=cluster.id, why=WHY_TWICE)
            set_placements(MACHINE, known[LARGE].id, [PLACEMENT.name], why=WHY_TWICE)
    return (PLACEMENT,)
