"""What a plan is computed from: GPUs, replicas, starts and steps, as they were read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from fleet.rules.answers import Quota
from fleet.rules.capacity import Exchange, Gpus, mix_of, pooled
from fleet.rules.fit import Fit, Need, NodeRoom, fit
from fleet.rules.peak import Peak
from fleet.rules.queue import Ahead, claims_of


@dataclass(frozen=True, slots=True)
class StartGroup:
    """Starts that happened alike: on nodes of one pool, with the image there or not."""

    of: str
    node_pool: str  # empty: its nodes name none
    cache: str  # fleet.rules.starts.Cache; empty: nobody could tell
    samples: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Starts:
    """Measured cold starts in seconds, from creation to admission. None: not measured."""

    samples: int = 0
    p50: float | None = None
    p95: float | None = None
    of: str = ""  # which release, or the model of several: "r17"
    borrowed: bool = False  # of another release than the one meant
    pool: str = ""  # GPU product of the nodes; empty: of all
    expected: str = ""  # where the next one will start; empty: that was not asked
    instead: str = ""  # which starts count, where none was like the expected; empty: some were
    slowest: float | None = None  # p95 of the slowest kind that it may become: deadlines fit it
    groups: tuple[StartGroup, ...] = ()  # all kinds that were seen


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step of traffic. `hold` and samples are what its gate waits for at least.

    Of a shadow no answer reaches a client: `percent` of the requests are copied to the new
    release, and its answers are compared and dropped.
    """

    percent: int
    hold_seconds: int
    min_samples: int
    shadow: bool = False
    approval: bool = False  # a person must say yes to what its gate judged

    @property
    def words(self) -> str:
        """After "step 2"."""
        return f"as a shadow of {self.percent} %" if self.shadow else f"at {self.percent} %"


@dataclass(frozen=True, slots=True)
class Situation:
    """What a plan is computed from."""

    product: str  # of the new release
    gpus_new: int  # a replica
    gpus_old: int
    replicas: int  # wanted of the new release
    old_replicas: int  # 0: nothing runs yet
    nodes: Sequence[NodeRoom]
    ahead: Sequence[Ahead] = ()  # other open rollouts
    quotas: Sequence[Quota] | None = ()  # None: could not be read
    queue_unread: bool = False  # Kueue is there, and its quota could not be read
    floor: int | None = None  # replicas that disruption budgets want to answer
    requests_an_hour: int = 0  # that the service got lately
    starts_new: Starts = Starts()
    starts_old: Starts = Starts()
    grace_seconds: int = 120  # of the old release
    steps: Sequence[StepPlan] = ()
    soak_seconds: int = 3600
    pods_new: tuple[int, ...] = ()  # GPUs of each pod of a replica; empty: it is one pod
    pods_old: tuple[int, ...] = ()
    mixed_new: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # pods by GPU product
    mix_old: Gpus = field(default_factory=dict)  # of a replica; empty: of the same product
    peak: Peak | None = None  # of the last 7 days; None: nobody asked anything
    together: int = 0  # of the new release: so many pods in one fabric clique

    def needs(self, replicas: int) -> tuple[Need, ...]:
        """One for each GPU product of a replica's pods."""
        if not self.mixed_new:
            pods, together = self.pods_new, self.together
            return (Need(self.product, self.gpus_new, replicas, pods, together),)
        return tuple(Need(p, sum(pods), replicas, pods) for p, pods in self.mixed_new.items())

    def on_top(self, budget: Gpus) -> tuple[Need, ...]:
        """Whole new replicas that need what both releases may hold beyond what is held now."""
        more = self.exchange.on_top(budget)
        counts = {p: ceil(more.get(p, 0) / each) for p, each in self.exchange.new.items()}
        found = ((n, counts.get(n.product, counts.get("", 0))) for n in self.needs(0))
        return tuple(replace(need, replicas=replicas) for need, replicas in found)

    @property
    def exchange(self) -> Exchange:
        mix = mix_of(self.mixed_new) or {self.product: self.gpus_new}
        new, old = pooled(mix, self.mix_old or {self.product: self.gpus_old})
        return Exchange(new, old, self.replicas, self.old_replicas)

    @property
    def claims(self) -> list[Need]:
        return claims_of(self.ahead)

    def rooms(self, needs: Sequence[Need], *, vacated: bool = False) -> list[Fit]:
        return [fit(self.nodes, need, self.claims, vacated=vacated) for need in needs]
