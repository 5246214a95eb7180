"""Cold starts that are like the next ones of a release: by release family, node pool and whether
the image is on the nodes.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from fleet.models import Cluster, GpuInterval, Release, Service, StartSample
from fleet.rules.fit import NodeRoom, matching
from fleet.rules.groups import pods_by_product
from fleet.rules.release import ReleaseSpec
from fleet.rules.situation import Starts
from fleet.rules.starts import ANYWHERE, Cache, History, Place, Start, learn

KEPT = timedelta(days=30)  # that nodes are trusted to keep an image
READ = 1000  # the last ones, of all pools and cache states
FIELDS = (
    "seconds", "node_pool", "cache", "gpu_product", "release_id", "release__model_version__name",
    "release__image_digest", "release__model_version_id", "cluster_id", "node", "at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """A start that was measured, with what tells whether it is like another one."""

    start: Start
    product: str
    release_id: int
    model: str
    image_digest: str
    version_id: int
    cluster_id: int
    node: str
    at: datetime


def starts_like(releases: Iterable[Release]) -> list[Seen]:
    """Of their models, the newest first."""
    names = {release.model_version.name for release in releases}
    rows = StartSample.objects.filter(release__model_version__name__in=names).order_by("-id")
    return [Seen(Start(*row[:3]), *row[3:]) for row in rows.values_list(*FIELDS)[:READ]]


def starts_of(
    service: Service,
    release: Release,
    place: Place = ANYWHERE,
    seen: Sequence[Seen] | None = None,
) -> Starts:
    """Of this release; where it never started so, of its model's others, then of the service's
    last one; said so.

    Nodes of another GPU product load differently: their starts do not count where a release
    names its product.
    """
    wanted = pods_by_product(release.resources, release.roles)
    product = next(iter(wanted)) if len(wanted) == 1 else ""
    model = release.model_version.name
    found = starts_like([release]) if seen is None else seen
    like = [s for s in found if s.model == model and (not product or s.product in (product, ""))]
    own = [s.start for s in like if s.release_id == release.pk]
    histories = [
        History(str(release), own),
        History(model, [s.start for s in like], borrowed=True),
    ]
    if not like:
        histories.append(_last_of(service, release, product))
    return learn([h for h in histories if h.starts] or histories[:1], place, pool=product)


def _last_of(service: Service, release: Release, product: str) -> History:
    rows = StartSample.objects.filter(service=service).order_by("-id")
    if product:
        rows = rows.filter(gpu_product__in=(product, ""))
    last = rows.select_related("release").first()
    if last is None:
        return History(str(release), ())
    others = rows.filter(release=last.release).values_list("seconds", "node_pool", "cache")
    return History(str(last.release), [Start(*row) for row in others[:READ]], borrowed=True)


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known of a cluster's nodes: their pools, and what started on them lately."""

    pools: Mapping[str, str]  # by node, as labels name them; of those whose GPUs are seen now
    had: AbstractSet[tuple[str, str, int]]  # node, digest of the image, model version

    def has(self, node: str, release: Release) -> bool:
        """Its image and weights started there before."""
        return (node, release.image_digest, release.model_version_id) in self.had


def ground_of(cluster: Cluster, seen: Iterable[Seen]) -> Ground:
    rows = GpuInterval.objects.filter(ends_at=None, unit__cluster=cluster)
    pools = dict(rows.values_list("unit__node", "node_pool").distinct())
    since = timezone.now() - KEPT
    here = [s for s in seen if s.cluster_id == cluster.pk and s.node and s.at >= since]
    return Ground(pools, {(s.node, s.image_digest, s.version_id) for s in here})


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
