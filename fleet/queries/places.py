"""Whether a release may be on the cluster of its service: its data policy, and how it is placed."""

from fleet.models import Cluster, Release
from fleet.queries.releases import spec_of
from fleet.rules.pins import Pins, pins_from, refuse_place
from fleet.rules.topology import refuse_placement


def refuse_cluster(release: Release) -> str:
    """A sentence where it does not; a cluster may have changed since the release was made."""
    return refuse_pins_on(pins_from(release.pins), release.service.cluster)


def refuse_pins_on(pins: Pins, cluster: Cluster | None) -> str:
    if cluster is None:
        return ""
    return refuse_place(pins, cluster.region, cluster.confidential, cluster.name)


def refuse_together(release: Release) -> str:
    """Pods that must be together where nothing keeps that. Empty: the cluster can."""
    cluster = release.service.cluster
    return refuse_placement(spec_of(release), cluster.group_sets) if cluster else ""
