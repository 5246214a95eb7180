"""What a rollout did to requests: failures on the new release, and on one that traffic leaves."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fleet.rules.traffic import TrafficSample

BROKEN = frozenset({"failed", "timed_out"})  # outcomes that an engine or its end can cause
ABORTED, HUNG = "upstream_abort", "upstream_time"  # reasons: engine gave it up, sent nothing more
NOT_ITS = frozenset({"queue_time"})  # reasons of waiting for a seat: no engine had it


def is_cut(sample: TrafficSample) -> bool:
    """The client had the first words of an answer that broke."""
    return sample.outcome in BROKEN and sample.ttft_ms is not None


@dataclass(frozen=True, slots=True)
class Answered:
    """Requests of one tenant on one release that ended alike."""

    tenant_id: int
    release_id: int
    leaving: bool  # they ended after the release's weight had gone to 0
    outcome: str
    reason: str
    cut: bool
    requests: int
    last_began: datetime
    last_ended: datetime

    @property
    def broken(self) -> bool:
        return self.outcome in BROKEN and self.reason not in NOT_ITS


@dataclass(frozen=True, slots=True)
class Ends:
    """How broken requests ended; `cut` counts those of all kinds that had begun to answer."""

    requests: int = 0
    aborted: int = 0  # the engine gave them up
    hung: int = 0  # it sent nothing more, until the gateway's time was over
    failed: int = 0  # 5xx, or the connection broke
    cut: int = 0


@dataclass(frozen=True, slots=True)
class TenantHarm:
    tenant_id: int
    release_id: int
    ends: Ends


@dataclass(frozen=True, slots=True)
class Leaving:
    """A release that traffic left: what was open then, and how it ended."""

    release_id: int
    since: datetime  # its weight went to 0
    served: int  # ended whole after that
    ends: Ends  # broken after that
    last_began: datetime | None  # the last request that was sent to it; None: none after that
    last_ended: datetime | None

    @property
    def lag_seconds(self) -> float:
        """From weight 0 to the last request that was still sent there."""
        return max((self.last_began - self.since).total_seconds(), 0.0) if self.last_began else 0.0

    @property
    def drain_seconds(self) -> float:
        """From weight 0 to the end of the last answer."""
        return max((self.last_ended - self.since).total_seconds(), 0.0) if self.last_ended else 0.0


def harmed(rows: Iterable[Answered], new_id: int) -> tuple[TenantHarm, ...]:
    """By tenant and release, most first. The old release's own faults are none of the rollout."""
    found: dict[tuple[int, int], list[Answered]] = {}
    for row in rows:
        if row.broken and (row.release_id == new_id or row.leaving):
            found.setdefault((row.tenant_id, row.release_id), []).append(row)
    made = [TenantHarm(*key, ends_of(group)) for key, group in found.items()]
    return tuple(sorted(made, key=lambda h: (-h.ends.requests, h.tenant_id, h.release_id)))


def ends_of(rows: Iterable[Answered]) -> Ends:
    broken = [row for row in rows if row.broken]
    return Ends(
        requests=sum(r.requests for r in broken),
        aborted=sum(r.requests for r in broken if r.reason == ABORTED),
        hung=sum(r.requests for r in broken if r.reason == HUNG),
        failed=sum(r.requests for r in broken if r.reason not in (ABORTED, HUNG)),
        cut=sum(r.requests for r in broken if r.cut),
    )


def leaving_of(rows: Iterable[Answered], release_id: int, since: datetime) -> Leaving:
    after = [r for r in rows if r.release_id == release_id and r.leaving]
    began = [r.last_began for r in after if r.last_began > since]
    return Leaving(
        release_id=release_id,
        since=since,
        served=sum(r.requests for r in after if not r.broken),
        ends=ends_of(after),
        last_began=max(began, default=None),
        last_ended=max((r.last_ended for r in after), default=None),
    )
