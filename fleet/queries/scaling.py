"""How a service is scaled: its bounds, what holds now, and what was decided lately, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.models import ScalingDecision, ScalingPolicy, Service
from fleet.queries.access import see_fleet
from fleet.queries.engine_series import columns_over
from fleet.queries.gateways import read_gateways
from fleet.queries.load import rules_of
from fleet.queries.starts import starts_of
from fleet.rules.schedule import Bounds, Hours, bounds_at
from fleet.rules.sleep import Rest, State, state_of, too_impatient
from fleet.rules.steps import Grid
from tenants.errors import NotFound
from tenants.rules.access import Viewer

MANY = 100
LOAD = """
SELECT date_bin(make_interval(secs => %(step)s), at, %(origin)s), avg(demand),
    avg(serving * target)::float8, max(given), min(serving)
FROM scaling_decision WHERE service_id = %(service)s AND at >= %(start)s AND at < %(end)s
GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class PolicyRow:
    id: int
    version: int
    min_replicas: int
    max_replicas: int
    target: int
    stable_seconds: int
    pause_seconds: int
    hours: tuple[Hours, ...]
    zone: str
    idle_seconds: int
    wait_seconds: int
    max_waiting: int
    slept_at: datetime | None
    woken_at: datetime | None
    waiting: int | None  # requests, for it to wake; None: not known
    start_seconds: float | None  # p95; None: none was measured
    changed_at: datetime
    now: Bounds  # what holds now
    failures: int  # looks that raised, in a row
    look_again: datetime | None

    @property
    def state(self) -> State:
        return state_of(self.slept_at, self.woken_at)

    @property
    def told(self) -> str:
        """What happens next, while it sleeps or wakes. Empty: it is awake."""
        if self.slept_at is None:
            return ""
        wait = timedelta(seconds=self.wait_seconds)
        at = (self.slept_at, self.woken_at)
        return Rest(*at, wait, self.max_waiting, self.waiting, self.start_seconds).words

    @property
    def warning(self) -> str:
        wait = timedelta(seconds=self.wait_seconds)
        return too_impatient(wait, self.start_seconds) if self.may_sleep else ""

    @property
    def may_sleep(self) -> bool:
        """At some hours at least."""
        return 0 in (self.min_replicas, *(h.least for h in self.hours))

    @property
    def etag(self) -> str:
        return f'"{self.id}-{self.version}"'


@dataclass(frozen=True, slots=True)
class DecisionRow:
    id: int
    at: datetime
    running: float
    waiting: float
    queued: float | None
    demand: float | None  # None: not everybody could be asked
    forecast: float | None
    target: int
    serving: int
    declared: int  # before
    wanted: int
    given: int
    changed: bool
    why: str


@dataclass(frozen=True, slots=True)
class LoadSeries:
    """The mean of each step; None: nothing was seen."""

    demand: Sequence[float | None]
    capacity: Sequence[float | None]  # what the replicas that answer take
    given: Sequence[int | None]
    serving: Sequence[int | None]

    @property
    def has_data(self) -> bool:
        return any(v is not None for v in self.given)


FIELDS = tuple(DecisionRow.__dataclass_fields__)


def find_policy(viewer: Viewer, service_id: int, now: datetime) -> PolicyRow | None:
    """None: people give the number themselves."""
    see_fleet(viewer)
    related = ("service__current_release__service", "service__current_release__model_version")
    row = ScalingPolicy.objects.select_related(*related).filter(service=service_id).first()
    if row is None:
        return None
    rules = rules_of(row)
    return PolicyRow(
        id=row.pk,
        version=row.version,
        min_replicas=row.min_replicas,
        max_replicas=row.max_replicas,
        target=row.target,
        stable_seconds=row.stable_seconds,
        pause_seconds=row.pause_seconds,
        hours=rules.hours,
        zone=row.zone,
        idle_seconds=row.idle_seconds,
        wait_seconds=row.wait_seconds,
        max_waiting=row.max_waiting,
        slept_at=row.slept_at,
        woken_at=row.woken_at,
        waiting=waiting_for(row, now) if row.slept_at else 0,
        start_seconds=start_of(row.service),
        changed_at=row.changed_at,
        now=bounds_at(rules.always, rules.hours, rules.zone, now),
        failures=row.failures,
        look_again=row.look_again,
    )


def waiting_for(policy: ScalingPolicy, now: datetime) -> int | None:
    """Requests in the waiting rooms of all gateways."""
    gateways = read_gateways(now)
    if gateways.trouble:
        return None
    return sum(w.waking.get(policy.service_id, 0) for w in gateways.workers)


def start_of(service: Service) -> float | None:
    release = service.current_release
    return starts_of(service, release).p95 if release else None


def policy_id(service_id: int) -> int | None:
    """Of what holds now, for who may change it."""
    rows = ScalingPolicy.objects.filter(service=service_id)
    return rows.values_list("pk", flat=True).first()


def get_policy(viewer: Viewer, service_id: int, now: datetime) -> PolicyRow:
    see_fleet(viewer)
    service = Service.objects.filter(pk=service_id).first()
    if service is None:
        raise NotFound("There is no such service")
    found = find_policy(viewer, service_id, now)
    if found is None:
        raise NotFound(f"{service} is not scaled by a policy: set one first")
    return found


def list_decisions(
    viewer: Viewer, service_id: int, *, only_changed: bool = False, most: int = MANY
) -> tuple[DecisionRow, ...]:
    """The newest first."""
    see_fleet(viewer)
    rows = ScalingDecision.objects.filter(service=service_id).order_by("-at", "-id")
    if only_changed:
        rows = rows.filter(changed=True)
    return tuple(DecisionRow(*values) for values in rows.values_list(*FIELDS)[:most])


def load_series(viewer: Viewer, service_id: int, over: Grid) -> LoadSeries:
    see_fleet(viewer)
    demand, capacity, given, serving = columns_over(LOAD, service_id, over, 4)
    return LoadSeries(demand, capacity, given, serving)
