"""Gateway workers: what each applied, how far it lags, what it flags."""

from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings

from fleet.clients.reports import read_reports
from gateway.contract.usage import PoolReport
from tenants.queries.snapshots import current_versions
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class WorkerRow:
    worker: str
    age_seconds: float
    policy_version: int
    routing_version: int
    policy_behind: int  # versions
    routing_behind: int
    in_flight: int
    spool_events: int
    spool_oldest_seconds: float
    flags: tuple[str, ...]
    requests_total: int
    resident_bytes: int
    pools: dict[str, PoolReport]
    waking: dict[int, int] = field(default_factory=dict)  # who wait for services that sleep

    @property
    def has_drifted(self) -> bool:
        return bool(self.policy_behind or self.routing_behind)


@dataclass(frozen=True, slots=True)
class Gateways:
    """`trouble` says why the workers are not known; an empty list alone means that none runs."""

    policy_version: int
    routing_version: int
    workers: tuple[WorkerRow, ...]
    trouble: str = ""

    @property
    def drifted(self) -> int:
        return sum(w.has_drifted for w in self.workers)

    @property
    def spool_events(self) -> int:
        return sum(w.spool_events for w in self.workers)


def list_gateways(viewer: Viewer, now: datetime) -> Gateways:
    viewer.require(Permission.VIEW_FLEET)
    return read_gateways(now)


def read_gateways(now: datetime) -> Gateways:
    """For jobs and the frame of the pages: no names of tenants are in it."""
    versions = current_versions()
    policy, routing = versions.get("policy", 0), versions.get("routing", 0)
    found = read_reports(settings.REDIS_URL)
    workers = tuple(
        WorkerRow(
            worker=r.worker,
            age_seconds=max(now.timestamp() - r.at, 0.0),
            policy_version=r.policy_version,
            routing_version=r.routing_version,
            policy_behind=max(policy - r.policy_version, 0),
            routing_behind=max(routing - r.routing_version, 0),
            in_flight=r.in_flight,
            spool_events=r.spool_events,
            spool_oldest_seconds=r.spool_oldest_seconds,
            flags=r.flags,
            requests_total=r.requests_total,
            resident_bytes=r.resident_bytes,
            pools=r.pools,
            waking=r.waking,
        )
        for r in found.reports
    )
    return Gateways(policy, routing, workers, found.trouble)
