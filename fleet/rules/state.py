"""What a decision about a rollout looks at, and what it answers. Plain values only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from fleet.rules.begins_within import BeginsWithin
from fleet.rules.capacity import Gpus
from fleet.rules.comparison import Window
from fleet.rules.contract.answers import Sample
from fleet.rules.contract.prompts import Prompt
from fleet.rules.gate_limits import GateLimits
from fleet.rules.gates import Reading
from fleet.rules.groups import is_worker
from fleet.rules.phases import GOING_BACK, Cause, Phase, PlanKind, Verdict, Wish
from fleet.rules.prefetch import Prefetch
from fleet.rules.seen import Side
from fleet.rules.situation import StepPlan
from fleet.rules.verify import Probe

NOW = timedelta(0)
SOON = timedelta(seconds=1)
LATER = timedelta(seconds=5)
SELDOM = timedelta(seconds=10)  # what is due beyond it still moves within 15 s
KEEP = -1  # a number of replicas that nobody asked about


@dataclass(frozen=True, slots=True)
class Memory:
    """What the machine must remember between passes, kept as JSON. Moments are ISO text."""

    progress: str = ""  # counts of replicas when they last changed
    progress_at: str = ""
    shifted_at: str = ""  # since when the present weight holds
    told: int = 0  # version of the routing snapshot that holds it; 0: none is known yet
    paused_by: str = ""  # operator, gate, approval
    paused_why: str = ""  # what it was paused with: meanwhile the cluster may be waited for
    extended: bool = False  # the gate got a second hold
    looks: int = 0  # of the present gate, each spent some of its error rate
    looked: float = 0.0  # seconds of the window at the last look
    baseline: Mapping[str, Any] = field(default_factory=dict)  # of the old one, at the last gate
    soaked: str = ""  # what the last look of the soak saw
    back_since: str = ""
    reason: str = ""  # why it goes back, in the first sentence
    judged: str = ""  # digest of what people are asked to approve of this step
    lost_since: str = ""  # during the soak: since when replicas are missing
    old_serving: int = 0  # as last seen: while the cluster cannot be asked
    gate: Mapping[str, Any] = field(default_factory=dict)  # the last look, for the page
    share: float | None = None  # observed share of the new release
    probes: Mapping[str, str] = field(default_factory=dict)  # last words by pod
    contract: Sequence[Mapping[str, Any]] = ()  # answers to recorded prompts, until all came
    most_gpus: int = 0  # that pods of both releases held, at any pass
    fetched: bool = False  # pods that brought the image to nodes may be left
    unfetched: str = ""  # why the image was not brought to nodes
    least_serving: int | None = None  # replicas of both that answered, at any pass

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def memory_from(stored: Mapping[str, Any]) -> Memory:
    """Fields that a newer or older program wrote are left out."""
    known = {f.name for f in fields(Memory)}
    return Memory(**{k: v for k, v in stored.items() if k in known})


@dataclass(frozen=True, slots=True)
class Approval:
    """`state` as of the change request; empty: none is needed."""

    state: str = ""
    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """The rollout as it is stored."""

    kind: PlanKind
    phase: Phase
    phase_since: datetime
    steps: tuple[StepPlan, ...]
    replicas: int  # wanted of the new release
    old_replicas: int  # of the old release when it began
    has_old: bool
    min_replicas: int  # answering, never below by our own act
    surge: int
    gpus_new: int = 1
    gpus_old: int = 1
    mixes: tuple[Gpus, Gpus] | None = None  # of a replica, new and old; None: of one product
    budget: Gpus | None = None  # GPUs that both releases together may hold; None: see below
    step: int = 0
    wish: Wish = Wish.RUN
    wish_at: datetime | None = None
    wish_by: str = ""
    wish_why: str = ""
    skip_step: int | None = None
    skip_by: str = ""
    resume_phase: Phase | None = None
    cause: Cause | None = None
    why: str = ""
    approval: Approval = Approval()
    weight_old: int = 100
    weight_new: int = 0
    declared_old: int = 0  # replicas, as the last pass wanted them
    declared_new: int = 0
    new_left: datetime | None = None  # since when the new release gets no traffic any more
    started: bool = False  # something was written to the cluster
    is_rollback: bool = False
    start_deadline: timedelta = timedelta(minutes=10)  # of one replica of the new release
    back_deadline: timedelta = timedelta(minutes=10)  # of one replica of the old release
    patience: timedelta = timedelta(seconds=60)  # for a place, drains not counted
    drain: timedelta = timedelta(seconds=120)
    lease: timedelta = NOW  # of blocks that prefill handed over, after the end of traffic
    prefetch: timedelta = NOW  # how long the image may take to nodes; none: not brought before
    soak: timedelta = timedelta(hours=1)
    longest_pause: timedelta = timedelta(hours=24)
    limits: GateLimits = GateLimits()
    contract: tuple[Prompt, ...] = ()  # what a canary is asked before it takes traffic
    taking: str = ""  # who takes part in this step, after "10 % of the traffic"; empty: all
    step_approval: Approval = Approval()  # of the present step
    step_moved: bool = False  # it was given for something else than what was judged
    superseded_by: str = ""  # the rollout that begins when this one has ended: RO-14
    gives_way: bool = False  # that one is approved: it need not wait for the old release
    begins: BeginsWithin | None = None  # the time that the approval is for; None: any
    memory: Memory = Memory()
    old: str = "the old release"  # labels for sentences: r41
    new: str = "the new release"

    @property
    def percent(self) -> int:
        """Of the traffic at the present step: none of a shadow; 100 after the last."""
        if self.step >= len(self.steps):
            return 100
        return 0 if self.shadow else self.steps[self.step].percent

    @property
    def shadow(self) -> int:
        """Percent of the requests that the present step copies; 0: it is no shadow."""
        step = self.steps[self.step] if self.step < len(self.steps) else None
        return step.percent if step and step.shadow else 0

    @property
    def apart(self) -> bool:
        """The two releases never run beside each other: one is gone before the other starts."""
        return self.kind is PlanKind.RECREATE

    @property
    def new_leaves(self) -> bool:
        """Nobody waits for what its engines say."""
        return self.phase in GOING_BACK and self.has_old and not self.weight_new

    @property
    def together(self) -> int:
        """New replicas that start at once."""
        return self.replicas if self.apart else max(self.surge, 1)

    @property
    def mix_new(self) -> Gpus:
        return self.mixes[0] if self.mixes else {"": self.gpus_new}

    @property
    def mix_old(self) -> Gpus:
        return self.mixes[1] if self.mixes else {"": self.gpus_old}

    @property
    def gpu_budget(self) -> Gpus:
        """As planned; of a rollout from before plans said it, what its surge asks for."""
        if self.budget is not None:
            return self.budget
        now = self.old_replicas * self.gpus_old + self.surge * self.gpus_new
        return {"": max(now, self.replicas * self.gpus_new)}


@dataclass(frozen=True, slots=True)
class Applied:
    """One worker of a gateway: the routing that it reports, and how old the report is."""

    name: str
    version: int
    age_seconds: float = 0.0

    @property
    def words(self) -> str:
        said = f"routing {self.version}"
        return f"{said}, silent for {self.age_seconds:.0f} s" if self.age_seconds > 5 else said


@dataclass(frozen=True, slots=True)
class Told:
    """What gateways say of themselves. Their workers that are gone are left out after 15 s."""

    version: int = 0  # newest snapshot, if it holds the weights that the row wants; else 0
    workers: tuple[Applied, ...] = ()
    trouble: str = ""  # they cannot be asked; `workers` are those that ask the console then
    arrears: str = ""  # usage that they hold back
    open_old: int | None = None  # requests that are in flight on each release
    open_new: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the cluster and the traffic reported a moment ago."""

    old: Side = Side()
    new: Side = Side()
    probes: Mapping[str, Probe] = field(default_factory=dict)
    contract: tuple[Sample, ...] = ()  # answers to recorded prompts, of this pass
    window: Window | None = None  # None: the statistics could not be read
    trouble: str = ""  # the cluster could not be asked
    dry_run: str | None = None  # validating: "" passed, else what the API server refused
    moved: str = ""  # the approval does not cover what would be applied
    frozen: str = ""  # the calendar lets no rollout begin now
    queued: str = ""  # it is another one's turn: the GPUs do not suffice for both
    routed: frozenset[str] | None = None  # pods that gateways can be told of; None: all of them
    gateways: Told | None = None  # None: not asked
    prefetch: Prefetch | None = None  # None: not looked at
    last_new: datetime | None = None  # when the last request to the new release began

    def unrouted(self, side: Side) -> int:
        """Replicas that serve and that the observer has not seen yet: no gateway knows them."""
        if self.routed is None:
            return 0
        leads = (p for p in side.pods if not is_worker(p.role))
        return sum(p.serves and p.uid not in self.routed for p in leads)


@dataclass(frozen=True, slots=True)
class Checked:
    """How an output contract ended, with every answer."""

    verdict: Verdict
    why: str
    answers: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Place:
    """Of one release. `replicas` None: no Deployment at all; KEEP: as it is."""

    replicas: int | None
    weight: int


@dataclass(frozen=True, slots=True)
class Want:
    old: Place
    new: Place


@dataclass(frozen=True, slots=True)
class Decision:
    phase: Phase
    step: int
    why: str  # shown to people as it is
    want: Want | None = None  # None: leave cluster and traffic alone
    look_again: timedelta | None = LATER  # None: nothing left to do
    cause: Cause | None = None
    resume_phase: Phase | None = None
    memory: Memory = Memory()
    reading: Reading | None = None  # of a gate, to be kept
    asks: Mapping[str, Any] | None = None  # what a person is to approve
    contract: Checked | None = None  # to be kept
    admit: tuple[str, ...] = ()  # pods that may take traffic from now on
    fetch: tuple[str, ...] = ()  # nodes that get the image now
    mends: bool = False  # puts right what somebody did by hand: told, though the wish is as before
    hindered: bool = False  # what is decided is not done for now, by whoever should: not for long


def moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
