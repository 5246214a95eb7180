"""A rollout played with rules alone: decide, apply to a cluster in memory, look again."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from fleet.clients.errors import ClientError
from fleet.drive.act import act
from fleet.drive.look import WATCHED, View, is_judged_in_pause
from fleet.drive.rollout import hindered
from fleet.rules.comparison import Window
from fleet.rules.contract.answers import judge as judge_answer
from fleet.rules.contract.verifying import questions
from fleet.rules.gates import bounds_of
from fleet.rules.groups import shape_from, whole
from fleet.rules.histogram import Histogram
from fleet.rules.manifests import ROLE, deployments_of, each_of, placed, render, workload
from fleet.rules.phases import BEFORE_WRITES, FINAL, Phase, PlanKind
from fleet.rules.release import (
    ModelPin,
    Probes,
    ReleaseSpec,
    Resources,
    canonical,
    digest_of,
    fingerprint_of,
)
from fleet.rules.rollout import decide
from fleet.rules.seen import read_side
from fleet.rules.situation import StepPlan
from fleet.rules.state import KEEP, Applied, Approval, Seen, State, Told, moment
from fleet.rules.traffic import ReleaseWindow
from fleet.rules.verify import Expected, judge, to_probe
from tests.fakes.workloads import FakeWorkloads

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def make_spec(commit="a" * 40, **changes):
    fields = {
        "service": "chat",
        "model": ModelPin("org/model", commit),
        "image": "registry.local/vllm",
        "image_digest": "sha256:" + "d" * 64,
        "resources": Resources("NVIDIA-H100-80GB-HBM3", 1),
        "probes": Probes(startup_seconds=120, pre_stop_seconds=1, drain_seconds=10),
    }
    return ReleaseSpec(**fields | changes)


def make_state(**changes):
    fields = {
        "kind": PlanKind.SURGE_CANARY,
        "phase": Phase.VALIDATING,
        "phase_since": START,
        "steps": (StepPlan(10, 10, 20), StepPlan(50, 10, 20)),
        "replicas": 4,
        "old_replicas": 4,
        "has_old": True,
        "min_replicas": 4,
        "surge": 1,
        "start_deadline": timedelta(seconds=120),
        "back_deadline": timedelta(seconds=120),
        "patience": timedelta(seconds=30),
        "drain": timedelta(seconds=30),
        "soak": timedelta(seconds=20),
        "approval": Approval("approved", "vic@example.com"),
        "old": "r1",
        "new": "r2",
    }
    return State(**fields | changes)


@dataclass
class Walk:
    state: State
    gpus: int | dict[str, int] = 8
    old: ReleaseSpec = field(default_factory=make_spec)
    new: ReleaseSpec = field(default_factory=lambda: make_spec("b" * 40))
    per_second: int = 20  # requests of the service
    errors: float = 0.0  # share of failed ones of the new release
    slow: float = 1.0  # its times against the old ones
    copies: bool = True  # gateways copy requests for a shadow
    counted: bool = True  # the statistics can be read
    late: str = ""  # why they cannot be trusted
    routing: int = 1  # version of the snapshot with the present weights
    applied: int = 1  # that the one gateway has
    lags: bool = False  # it reports and applies nothing new
    fence: int = 1
    drops: bool = False  # the next worker loses its claim after it has acted
    history: list = field(default_factory=list)

    def __post_init__(self):
        self.cluster = FakeWorkloads(START, self.gpus)
        self.names = {k: fingerprint_of(digest_of(s)) for k, s in self.both.items()}
        self.manifests = {k: workload(render(s, "models", 4096)) for k, s in self.both.items()}
        self.deployments = {k: deployments_of(m) for k, m in self.manifests.items()}
        stored = {k: canonical(s) for k, s in self.both.items()}
        self.shapes = {k: shape_from(s["resources"], s.get("roles", ())) for k, s in stored.items()}
        if self.state.has_old:
            self.state = replace(self.state, declared_old=self.state.old_replicas)
            self.make("old", self.state.old_replicas)
            for _ in range(4):
                self.cluster.tick()
                for pod in list(self.cluster.pods.values()):
                    self.cluster.set_condition("", pod["metadata"]["uid"], admitted())

    def make(self, which, replicas):
        for item in self.of(which):
            self.cluster.apply(placed(item, replicas=replicas, fence=self.fence))

    def side(self, which):
        return read_side(self.cluster.look(""), self.names[which], self.shapes[which])

    def replicas(self, which):
        """Whole ones that each of its Deployments stands for, by role; of those that are there."""
        there = ((d, self.cluster.deployments.get(d["metadata"]["name"])) for d in self.of(which))
        return {
            d["metadata"]["labels"][ROLE]: found["spec"].get("replicas", 0) // each_of(d)
            for d, found in there
            if found
        }

    def of(self, which):
        return self.deployments[which]

    def serving(self, which):
        ready = self.cluster.ready(self.names[which])
        return whole((p["metadata"]["labels"][ROLE] for p in ready), self.shapes[which])

    @property
    def both(self):
        return {"old": self.old, "new": self.new}

    @property
    def now(self):
        return self.cluster.now

    def see(self):
        if self.cluster.down:
            return Seen(trouble="The cluster's API does not answer")
        old, new = self.side("old"), self.side("new")
        asked = [(p, "new") for p in to_probe(new)]
        asked += [(p, "old") for p in to_probe(old, again=new.gone)]
        probes = {p.uid: judge(p, self.ask(p), self.expect(k)) for p, k in asked}
        self.applied = self.applied if self.lags else self.routing
        told = Told(self.routing, (Applied("gw-0", self.applied),))
        seen = Seen(
            old=old, new=new, probes=probes, window=self.window(), dry_run="", gateways=told
        )
        return replace(seen, contract=tuple(self.answer(q) for q in questions(self.state, seen)))

    def ask(self, pod):
        if pod.peer:
            return self.cluster.ask_pair(pod.peer, pod.address, "chat")
        return self.cluster.ask(pod.address, "chat")

    def answer(self, question):
        pod, prompt = question.pod, question.prompt
        return judge_answer(prompt, self.cluster.put(pod.address, "chat", prompt), pod.name)

    def expect(self, which):
        spec = self.both[which]
        return Expected(self.names[which], "chat", 4096, f"{spec.image}@{spec.image_digest}")

    def window(self):
        """Looked at when `fleet.drive.look.window_of` does."""
        since = moment(self.state.memory.shifted_at)
        if self.state.phase is Phase.SOAKING:
            since = self.state.phase_since
        elif self.state.phase not in WATCHED and not is_judged_in_pause(self.state):
            return None
        if since is None or not self.counted:
            return None
        start, end = bounds_of(since, self.now)
        total = int((end - start).total_seconds() * self.per_second)
        new = total * self.state.weight_new // 100
        old = self.answers(total - new)
        new += total * self.state.shadow // 100 if self.copies else 0
        return Window(start, end, self.answers(new, self.errors, self.slow), old, late=self.late)

    def answers(self, requests, errors=0.0, slow=1.0):
        failed = int(requests * errors)
        times = (
            Histogram({int(40 + 25 * (slow > 1)): requests - failed}) if requests else Histogram()
        )
        return ReleaseWindow({"served": requests - failed, "failed": failed}, ttft=times, itl=times)

    def step(self, seconds=5):
        """One pass, then time. Answers the decision."""
        if self.state.phase in BEFORE_WRITES:
            self.keep()
        seen = self.see()
        decision = self.apply(decide(self.state, seen, self.now), seen)
        self.fence += 1
        if self.drops:
            self.drops = False
            self.cluster.tick(seconds)
            return decision
        moved = (decision.phase, decision.step) != (self.state.phase, self.state.step)
        want = decision.want
        self.route(want)
        self.state = replace(
            self.state,
            phase=decision.phase,
            step=decision.step,
            phase_since=self.now if moved else self.state.phase_since,
            why=decision.why,
            cause=decision.cause,
            resume_phase=decision.resume_phase,
            memory=decision.memory,
            started=self.state.started or want is not None,
            weight_old=want.old.weight if want else self.state.weight_old,
            weight_new=want.new.weight if want else self.state.weight_new,
            declared_old=declared(want and want.old, self.state.declared_old),
            declared_new=declared(want and want.new, self.state.declared_new),
        )
        if moved:
            self.history.append((decision.phase, decision.why))
        self.cluster.tick(seconds)
        return decision

    def route(self, want):
        """What the record writes of traffic."""
        if want is None:
            return
        new = want.new.weight
        if (want.old.weight, new) != (self.state.weight_old, self.state.weight_new):
            self.routing += 1
        left = self.now if self.state.weight_new and not new else self.state.new_left
        self.state = replace(self.state, new_left=None if new else left)

    def apply(self, decision, seen):
        """As a worker acts. Answers what holds then: the cluster may refuse, or not answer."""
        cluster = None if self.cluster.down else self.cluster
        row = SimpleNamespace(fence=self.fence)
        view = View(row, self.state, seen, cluster, self.manifests)
        try:
            act(view, decision, self.now)
        except ClientError as error:
            return hindered(view, decision, error, self.now)
        return decision

    def run(self, until=FINAL, most=400):
        for _ in range(most):
            if self.state.phase in until:
                return self
            self.step()
        raise AssertionError(f"still {self.state.phase} after {most} passes: {self.state.why}")

    def delete(self, which):
        """As somebody does it by hand, who cannot reach a lost cluster either."""
        if self.cluster.down or self.cluster.forbids:
            return
        name = self.of(which)[-1]["metadata"]["name"]
        if found := self.cluster.deployments.get(name):
            with suppress(ClientError):
                self.cluster.delete("Deployment", name, found["metadata"]["uid"])

    def keep(self):
        """As `fleet.drive.keep` does before and after: what is declared and gone is made again."""
        if self.cluster.down:
            return
        for which, replicas in (("old", self.state.declared_old), ("new", self.state.declared_new)):
            names = {d["metadata"]["name"] for d in self.of(which)}
            if replicas and names - self.cluster.deployments.keys():
                with suppress(ClientError):
                    self.make(which, replicas)

    @property
    def phases(self):
        return [phase for phase, _ in self.history]


def declared(place, before):
    """As the rows have it after a pass."""
    return before if place is None or place.replicas == KEEP else place.replicas or 0


def admitted():
    return {"type": "quartermaster.dev/admitted", "status": "True"}
