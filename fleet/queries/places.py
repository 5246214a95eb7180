"""Whether the data policy of a release allows the cluster that its service is on."""

from fleet.models import Cluster, Release
from fleet.rules.pins import Pins, pins_from, refuse_place


def refuse_cluster(release: Release) -> str:
    """A sentence where it does not; a cluster may have changed since the release was made."""
    return refuse_pins_on(pins_from(release.pins), release.service.cluster)


def refuse_pins_on(pins: Pins, cluster: Cluster | None) -> str:
    if cluster is None:
        return ""
    return refuse_place(pins, cluster.region, cluster.confidential, cluster.name)
