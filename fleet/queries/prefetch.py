"""How the image of a rollout's new release came to nodes before anything moved."""

from dataclasses import dataclass
from datetime import datetime

from fleet.models import Cluster, Rollout, RolloutFetch, Service
from fleet.queries.releases import spec_of
from fleet.rules.phases import BEFORE_WRITES, FINAL, GOING_BACK, Phase
from fleet.rules.prefetch import FIRST_STARTS, NO_LIMIT, NOT_ALLOWED, weights_of
from fleet.rules.rbac import may_fetch
from fleet.rules.state import memory_from
from fleet.rules.weights import CLAIM, Trouble, is_claim

BY_LIMIT = "Not brought before: the limit of its service for that was 0"


@dataclass(frozen=True, slots=True)
class FetchRow:
    """`state`: waiting, pulling, loading, done, disk, registry, place; of weights also hub, commit,
    access, failed.
    """

    node: str  # or "claim NAME", which all nodes share
    pod: str  # empty: not made yet
    state: str
    weights: str  # waiting, pulling, done or the trouble's state; empty: it brings none
    trouble: str  # the words of registry, disk, scheduler or hub
    told: str  # last words of what brought weights: their size
    made_at: datetime | None
    state_at: datetime  # when it was seen in this state first
    gone: bool  # the pod, whatever it came to
    gone_at: datetime | None  # None as well where it went with its release


@dataclass(frozen=True, slots=True)
class PrefetchDetail:
    limit_seconds: int  # how long a rollout waits for it; 0: nothing is brought before
    skipped: str  # why no image was brought; empty: it is, or was
    rows: tuple[FetchRow, ...]  # by node, those in trouble first
    weights: bool  # come the same way
    weights_why: str
    cache: str = ""  # that weights are brought into

    @property
    def nodes(self) -> tuple[FetchRow, ...]:
        return tuple(row for row in self.rows if not row.node.startswith(CLAIM))

    @property
    def done(self) -> int:
        """Nodes with the image."""
        return sum(row.state in HERE for row in self.nodes)

    @property
    def brings(self) -> tuple[FetchRow, ...]:
        return tuple(row for row in self.rows if row.weights)

    @property
    def brought(self) -> int:
        return sum(row.weights == "done" for row in self.rows)


OF_WEIGHTS = tuple(trouble.value for trouble in Trouble if trouble is not Trouble.DISK)
ORDER = (*OF_WEIGHTS, "disk", "registry", "place", "loading", "pulling", "waiting", "done")
HERE = frozenset({"done", "loading", *OF_WEIGHTS})
WEIGHTS = {"pulling": "waiting", "loading": "pulling"}  # by the state of the whole


def prefetch_of(r: Rollout) -> PrefetchDetail | None:
    """None: before its first write, or a way back, which waits for no image."""
    phase = Phase(r.phase)
    if r.is_rollback or phase in BEFORE_WRITES or r.started_at is None:
        return None
    limit = r.plan.get("prefetch_seconds", 0)
    spec = spec_of(r.to_release)
    cache = spec.pins.weights
    weights, why = weights_of(spec.model, cache)
    over = phase in FINAL or phase in GOING_BACK
    rows = [row_of(f, cache, over=over) for f in RolloutFetch.objects.filter(rollout=r)]
    return PrefetchDetail(
        limit_seconds=limit,
        skipped=memory_from(r.memory).unfetched if limit else BY_LIMIT,
        rows=tuple(sorted(rows, key=lambda row: (ORDER.index(row.state), row.node))),
        weights=weights,
        weights_why=why,
        cache=cache,
    )


def will_fetch(service: Service, cluster: Cluster) -> bool:
    """Whether the image of a new release is brought to nodes before anything moves."""
    return bool(service.prefetch_seconds) and may_fetch(cluster.permissions, cluster.namespace)


def unfetched(service: Service, cluster: Cluster) -> list[str]:
    """What a plan warns of: nothing is brought, why, and what that means."""
    if will_fetch(service, cluster):
        return []
    why = NOT_ALLOWED if service.prefetch_seconds else NO_LIMIT
    return [f"{why}; {FIRST_STARTS}"]


def row_of(f: RolloutFetch, cache: str, *, over: bool) -> FetchRow:
    brings = f.node.startswith(CLAIM) if is_claim(cache) else bool(cache)
    return FetchRow(
        node=f.node,
        pod=f.pod,
        state=f.state,
        weights=WEIGHTS.get(f.state, f.state) if brings else "",
        trouble=f.trouble,
        told=f.told,
        made_at=f.made_at,
        state_at=f.state_at,
        gone=f.gone_at is not None or over,
        gone_at=f.gone_at,
    )
