"""Register the demo's cluster; look again when its credential or address has changed."""

import hashlib
from pathlib import Path

from django.utils import timezone

from console.demo.credentials import Credentials
from console.demo.services import MACHINE, rows_by_name
from fleet.actions import clusters, services
from fleet.queries.clusters import ClusterRow, list_clusters
from tenants.base.scope import fleet_scope

WHY = "The demo's cluster"


def register_cluster(
    kept: Credentials, kubeconfig: Path, *, slug: str, name: str, region: str
) -> Credentials:
    """Ask the cluster, then write it down. The same kubeconfig again changes nothing."""
    text = kubeconfig.read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()
    row = find_cluster(slug)
    if row and kept.get("kubeconfig_sha256") == digest:
        return kept
    examined = clusters.examine(MACHINE, kubeconfig=text)
    with fleet_scope():
        if row:
            clusters.change(MACHINE, row.id, None, examined=examined, why="A new credential")
        else:
            clusters.register(MACHINE, examined, slug=slug, name=name, region=region)
    return kept | {"kubeconfig_sha256": digest}


def find_cluster(slug: str) -> ClusterRow | None:
    with fleet_scope():
        rows = list_clusters(MACHINE, timezone.now())
    return next((row for row in rows if row.slug == slug), None)


def place_services(slug: str) -> None:
    """Bind the demo's services to the cluster, those that have no cluster yet."""
    cluster = find_cluster(slug)
    with fleet_scope():
        for row in rows_by_name().values():
            if cluster and row.demo and row.cluster_id is None:
                services.change(MACHINE, row.id, None, cluster_id=cluster.id, why=WHY)
