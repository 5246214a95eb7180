"""A service with a release that serves, people, and a cluster in memory, on the real database."""

from dataclasses import dataclass, field

from django.utils import timezone
from msgspec.structs import replace

from fleet.actions.observation import store_pods
from fleet.actions.releases import create_release
from fleet.actions.rollouts import propose_rollout
from fleet.actions.traffic import record, record_copies
from fleet.drive.outside import Outside
from fleet.drive.place import put
from fleet.drive.rollout import drive
from fleet.models import Deployment, Node, Service
from fleet.queries.audience import canaries
from fleet.queries.releases import spec_of
from fleet.rules.manifests import render, workload
from fleet.rules.observation import read_pods
from fleet.rules.phases import FINAL, Phase
from fleet.rules.situation import StepPlan
from fleet.rules.traffic import TrafficSample
from tenants.actions import changes
from tenants.base.scope import fleet_scope, scope_of
from tenants.models import ChangeRequest, RoleBinding, User
from tenants.queries.access import viewer_of_user
from tests.fakes.workloads import FakeWorkloads
from tests.fleet.makers import make_cluster

PRODUCT = "NVIDIA-H100-80GB-HBM3"
STEPS = (StepPlan(10, 10, 20), StepPlan(50, 10, 20))


def make_viewer(name, role, tenant=None):
    user = User.objects.create_user(f"{name}@example.com", name=name)
    with fleet_scope():
        RoleBinding.objects.create(user=user, role=role, tenant=tenant)
    return viewer_of_user(user)


@dataclass
class Stage:
    olga: object
    vic: object
    cluster: object
    service: Service
    fake: FakeWorkloads
    per_second: int = 20
    errors: float = 0.0
    tenants: dict[int, float] = field(default_factory=lambda: {1: 1.0})  # requests of each
    staying: dict[int, float] = field(default_factory=dict)  # on the old release, whatever moves
    hurt: int = 0  # whose requests the new release fails, one in two
    applications: dict[int, int] = field(default_factory=dict)  # of tenants; else unknown
    finish: tuple[str, str] = ("", "")  # finish reasons: of the old release, of the new one

    @property
    def outside(self):
        return Outside(
            lambda _: self.fake, self.fake.ask, lambda: self.fake.now, self.fake.put,
            self.fake.ask_pair,
        )  # fmt: skip

    def act(self, action, *args, **more):
        """As olga does it through a door."""
        with scope_of(self.olga):
            return action(self.olga, *args, **more)

    def release(self, commit="a", **changes):
        fields = {
            "model": {"name": "org/model", "commit": commit * 40},
            "image": "registry.local/vllm@sha256:" + "d" * 64,
            "resources": {"gpu_product": PRODUCT, "gpus": 1},
            "probes": {"startup_seconds": 120, "drain_seconds": 10, "pre_stop_seconds": 1},
        }
        return self.act(create_release, self.service.pk, **fields | changes)

    def propose(self, release, **changes):
        fields = {"steps": STEPS, "soak_seconds": 20, "patience_seconds": 30, "reason": "faster"}
        return self.act(propose_rollout, self.service.pk, release.pk, **fields | changes)

    def approve(self, rollout):
        rollout.refresh_from_db()
        change = ChangeRequest.objects.get(pk=rollout.change_id)
        with scope_of(self.vic):
            changes.decide(self.vic, change.pk, digest=change.digest, approve=True)

    def step(self, rollout, seconds=5):
        drive(rollout.pk, self.outside)
        rollout.refresh_from_db()
        self.fake.tick(seconds)
        self.observe()
        self.traffic(seconds)

    def run(self, rollout, until=FINAL, most=200):
        for _ in range(most):
            if Phase(rollout.phase) in until:
                return rollout
            self.step(rollout)
        raise AssertionError(f"still {rollout.phase}: {rollout.why}")

    def observe(self):
        """As the observer's process does beside the passes."""
        pods = list(self.fake.pods.values())
        store_pods(self.cluster, read_pods(pods, self.fake.now), self.fake.now)

    def traffic(self, seconds):
        """Answered requests by weight, as usage would report them."""
        samples, now = [], self.fake.now
        for row in Deployment.objects.filter(service=self.service, weight__gt=0):
            is_new = row.release_id != self.service.current_release_id
            parts = {t: share * row.weight / 100 for t, share in self.tenants.items()}
            for tenant, share in (parts if is_new else parts | self.staying).items():
                requests = int(self.per_second * seconds * share)
                sample = TrafficSample(now, tenant, self.service.pk, row.release_id, "interactive",
                                       "served", ttft_ms=40, itl_ms=8,
                                       application_id=self.applications.get(tenant, 0),
                                       finish=self.finish[is_new])  # fmt: skip
                rate = 0.5 if tenant == self.hurt else self.errors
                bad = int(requests * rate) if is_new else 0
                samples += [sample] * (requests - bad) + [replace(sample, outcome="failed")] * bad
        with fleet_scope():
            record(samples, now=now)
            record_copies(self.copies(samples, canaries().get(self.service.pk)), now=now)

    def copies(self, samples, canary):
        """What a shadow answers to copies of these requests, as gateways make them."""
        if canary is None or not canary.shadow_percent:
            return []
        found = []
        for tenant in {s.tenant_id for s in samples} - set(canary.never_tenants):
            if canary.only_tenants and tenant not in canary.only_tenants:
                continue
            theirs = [
                replace(s, release_id=canary.release_id, outcome="served", prompt_tokens=9)
                for s in samples
                if s.tenant_id == tenant
            ]
            theirs = theirs[: len(theirs) * canary.shadow_percent // 100]
            rate = 0.5 if tenant == self.hurt else self.errors
            bad = int(len(theirs) * rate)
            found += theirs[bad:] + [replace(s, outcome="failed") for s in theirs[:bad]]
        return found


def make_stage(*, replicas=4, gpus=8, serving=True, **release):
    now = timezone.now()
    cluster = make_cluster(observed_at=now)
    Node.objects.create(
        cluster=cluster, name="gpu-1", gpu_product=PRODUCT, gpus_allocatable=gpus,
        gpus_used=replicas if serving else 0, ready=True, changed_at=now, observed_at=now,
    )  # fmt: skip
    service = Service.objects.create(name="chat", cluster=cluster, replicas=replicas)
    stage = Stage(
        make_viewer("olga", "operator"), make_viewer("vic", "approver"), cluster, service,
        FakeWorkloads(now, gpus),
    )  # fmt: skip
    if serving:
        serve(stage, stage.release("a", **release))
    return stage


def serve(stage, release):
    """As a rollout that succeeded earlier left it."""
    service = stage.service
    made = workload(render(spec_of(release), "models", service.max_model_len))
    Deployment.objects.create(
        service=service, release=release, cluster=stage.cluster, name=made["metadata"]["name"],
        manifest=made, replicas=service.replicas, weight=100,
    )  # fmt: skip
    Service.objects.filter(pk=service.pk).update(current_release=release)
    service.refresh_from_db()
    put(stage.fake, made, replicas=service.replicas, fence=0)
    for _ in range(4):
        stage.fake.tick()
        for pod in list(stage.fake.pods.values()):
            condition = {"type": "quartermaster.dev/admitted", "status": "True"}
            stage.fake.set_condition("", pod["metadata"]["uid"], condition)
