"""What a rollout did to requests, and how the release that traffic left was drained."""

from dataclasses import dataclass
from datetime import datetime

from fleet.models import Rollout, RolloutAnswer, RolloutEvent
from fleet.queries.rollouts import find_rollout
from fleet.rules.harm import Answered, Ends, Leaving, harmed, leaving_of
from tenants.base.scope import fleet_scope
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Viewer

FIELDS = (
    "tenant_id", "release_id", "leaving", "outcome", "reason", "cut", "requests", "last_began",
    "last_ended",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HarmRow:
    """Broken requests of one tenant on one release."""

    tenant: str  # slug
    release: str  # r41
    fingerprint: str
    ends: Ends


@dataclass(frozen=True, slots=True)
class DrainRow:
    """A release that traffic left. Seconds count from when its weight went to 0."""

    release: str
    since: datetime
    open_requests: int | None  # when its replicas went; None: not yet, or not known
    served: int
    ends: Ends
    lag_seconds: float  # until the last request that was still sent to it
    drain_seconds: float  # until the end of the last answer


@dataclass(frozen=True, slots=True)
class Harm:
    rollout_id: int
    requests: int
    cut: int
    tenants: tuple[HarmRow, ...]  # most first
    drains: tuple[DrainRow, ...]  # old, new
    start: datetime | None  # of what was counted; None: nothing was written to the cluster yet
    end: datetime | None  # None: it goes on

    @property
    def tally(self) -> tuple[tuple[str, int], ...]:
        """Tenant and requests, both releases together."""
        sums: dict[str, int] = {}
        for row in self.tenants:
            sums[row.tenant] = sums.get(row.tenant, 0) + row.ends.requests
        return tuple(sorted(sums.items(), key=lambda pair: -pair[1]))


def harm_of(viewer: Viewer, rollout: int | Rollout) -> Harm:
    r = find_rollout(viewer, rollout)
    with fleet_scope():
        rows = RolloutAnswer.objects.filter(rollout=r).values_list(*FIELDS)
        answers = [Answered(*row) for row in rows.order_by("id")]
    found = harmed(answers, r.to_release_id)
    names = tenant_refs({h.tenant_id for h in found}) if found else {}
    releases = {x.pk: x for x in (r.from_release, r.to_release) if x}
    return Harm(
        rollout_id=r.pk,
        requests=sum(h.ends.requests for h in found),
        cut=sum(h.ends.cut for h in found),
        tenants=tuple(
            HarmRow(
                tenant=names[h.tenant_id].slug if h.tenant_id in names else str(h.tenant_id),
                release=str(releases[h.release_id]),
                fingerprint=releases[h.release_id].fingerprint,
                ends=h.ends,
            )
            for h in found
        ),
        drains=drains_of(r, answers),
        start=r.started_at,
        end=r.ended_at,
    )


def drains_of(r: Rollout, answers: list[Answered]) -> tuple[DrainRow, ...]:
    left = (("old", r.from_release, r.old_left_at), ("new", r.to_release, r.new_left_at))
    gone = [(which, release, since) for which, release, since in left if release and since]
    if not gone:
        return ()
    events = RolloutEvent.objects.filter(rollout=r).order_by("id")
    details = list(events.values_list("detail", flat=True))
    return tuple(
        drain_row(
            str(release),
            leaving_of(answers, release.pk, since),
            next((d[key] for d in reversed(details) if (key := f"open_{which}") in d), None),
        )
        for which, release, since in gone
    )


def drain_row(release: str, found: Leaving, open_requests: int | None) -> DrainRow:
    return DrainRow(
        release=release,
        since=found.since,
        open_requests=open_requests,
        served=found.served,
        ends=found.ends,
        lag_seconds=found.lag_seconds,
        drain_seconds=found.drain_seconds,
    )
