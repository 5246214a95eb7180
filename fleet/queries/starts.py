"""Cold starts that are like the next ones of a release: by release family, node pool and whether
the image is on the nodes.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now

from fleet.models import Cluster, GpuInterval, Release, Service, StartSample
from fleet.rules.fit import NodeRoom, matching
from fleet.rules.groups import pods_by_product
from fleet.rules.release import ReleaseSpec
from fleet.rules.situation import Starts
from fleet.rules.starts import ANYWHERE, Cache, History, Place, Start, learn

KEPT = timedelta(days=30)  # that nodes are trusted to keep an image
READ = 400  # the last ones of a family, of all pools and cache states


def starts_of(service: Service, release: Release, place: Place = ANYWHERE) -> Starts:
    """Of this release; where it never started so, of its model's others, then of the service's
    last one; said so.

    Nodes of another GPU product load differently: their starts do not count where a release
    names its product.
    """
    wanted = pods_by_product(release.resources, release.roles)
    product = next(iter(wanted)) if len(wanted) == 1 else ""
    rows = StartSample.objects.order_by("-id")
    if product:
        rows = rows.filter(gpu_product__in=(product, ""))
    model = release.model_version.name
    histories = [
        History(str(release), _read(rows.filter(release=release))),
        History(model, _read(rows.filter(release__model_version__name=model)), borrowed=True),
    ]
    if not any(history.starts for history in histories):
        histories.append(_last_of(service, rows, release))
    return learn([h for h in histories if h.starts] or histories[:1], place, pool=product)


def _last_of(service: Service, rows: QuerySet[StartSample], release: Release) -> History:
    last = rows.filter(service=service).select_related("release").first()
    if last is None:
        return History(str(release), ())
    others = rows.filter(service=service, release=last.release)
    return History(str(last.release), _read(others), borrowed=True)


def _read(rows: QuerySet[StartSample]) -> list[Start]:
    return [Start(*row) for row in rows.values_list("seconds", "node_pool", "cache")[:READ]]


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known of a cluster's nodes: their pools, and what started on them lately."""

    pools: Mapping[str, str]  # by node, as labels name them; of those whose GPUs are seen now
    had: AbstractSet[tuple[str, str, int]]  # node, digest of the image, model version

    def has(self, node: str, release: Release) -> bool:
        """Its image and weights started there before."""
        return (node, release.image_digest, release.model_version_id) in self.had


def ground_of(cluster: Cluster) -> Ground:
    rows = GpuInterval.objects.filter(ends_at=None, unit__cluster=cluster)
    pools = dict(rows.values_list("unit__node", "node_pool").distinct())
    starts = StartSample.objects.filter(cluster=cluster, at__gte=Now() - KEPT).exclude(node="")
    had = starts.values_list("node", "release__image_digest", "release__model_version")
    return Ground(pools, set(had.distinct()))


def place_of(
    ground: Ground,
    release: Release,
    spec: ReleaseSpec,
    rooms: Sequence[NodeRoom],
    *,
    fetched: bool = False,
    runs: bool = False,
) -> Place:
    """Where its next replica starts: on nodes with room for its largest pod, else on any of its
    GPUs. `fetched`: its image is brought to nodes before anything moves. `runs`: it is the release
    that leaves, and comes back to the nodes that it leaves.
    """
    largest = max(spec.gpus_of_pods, default=spec.gpus)
    named = spec.pods_by_product or {spec.product: ()}
    found = [room for product in named for room in matching(rooms, product)]
    able = [room for room in found if room.usable and room.free + room.leaving >= largest]
    left = [room for room in found if runs and room.leaving]
    names = {room.name for room in left or able or found}
    if not names:
        return ANYWHERE
    warm = fetched or bool(left) or all(ground.has(name, release) for name in names)
    pools = frozenset(ground.pools.get(name, "") for name in names)
    return Place(pools, Cache.WARM if warm else Cache.COLD)
