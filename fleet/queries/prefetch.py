"""How the image of a rollout's new release came to nodes before anything moved."""

from dataclasses import dataclass
from datetime import datetime

from fleet.models import Rollout, RolloutFetch
from fleet.queries.releases import spec_of
from fleet.rules.phases import BEFORE_WRITES, FINAL, GOING_BACK, Phase
from fleet.rules.prefetch import weights_of
from fleet.rules.state import memory_from

BY_LIMIT = "Not brought before: the limit of its service for that was 0"


@dataclass(frozen=True, slots=True)
class FetchRow:
    """`state`: waiting, pulling, done, disk, registry, place."""

    node: str
    pod: str  # empty: not made yet
    state: str
    trouble: str  # the words of registry, disk or scheduler
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

    @property
    def done(self) -> int:
        return sum(row.state == "done" for row in self.rows)


ORDER = ("disk", "registry", "place", "pulling", "waiting", "done")


def prefetch_of(r: Rollout) -> PrefetchDetail | None:
    """None: before its first write, or a way back, which waits for no image."""
    phase = Phase(r.phase)
    if r.is_rollback or phase in BEFORE_WRITES or r.started_at is None:
        return None
    limit = r.plan.get("prefetch_seconds", 0)
    weights, why = weights_of(spec_of(r.to_release).model)
    over = phase in FINAL or phase in GOING_BACK
    rows = [row_of(f, over=over) for f in RolloutFetch.objects.filter(rollout=r)]
    return PrefetchDetail(
        limit_seconds=limit,
        skipped=memory_from(r.memory).unfetched if limit else BY_LIMIT,
        rows=tuple(sorted(rows, key=lambda row: (ORDER.index(row.state), row.node))),
        weights=weights,
        weights_why=why,
    )


def row_of(f: RolloutFetch, *, over: bool) -> FetchRow:
    gone = f.gone_at is not None or over
    return FetchRow(f.node, f.pod, f.state, f.trouble, f.made_at, f.state_at, gone, f.gone_at)
