"""Where clusters are, as far as it is known."""

from dataclasses import dataclass

from fleet.models import Cluster, Node


@dataclass(frozen=True, slots=True)
class Place:
    region: str
    zone: str  # empty: not known, or its nodes are in several


NOWHERE = Place("", "")


def cluster_places() -> dict[str, Place]:
    """By slug, clusters that were removed as well: what they cost stays."""
    zones: dict[int, set[str]] = {}
    for cluster_id, zone in Node.objects.values_list("cluster_id", "zone").distinct():
        zones.setdefault(cluster_id, set()).add(zone)
    found = {}
    for pk, slug, region in Cluster.objects.values_list("id", "slug", "region"):
        of_nodes = zones.get(pk, set())
        found[slug] = Place(region, next(iter(of_nodes)) if len(of_nodes) == 1 else "")
    return found
