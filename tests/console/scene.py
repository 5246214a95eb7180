"""A fleet as the pages show it: one rollout in each interesting phase, and an hour of traffic.

Written as rows, because the pages are tested here and not the machine that makes these rows.
"""

import hashlib
from datetime import datetime, timedelta
from functools import cache
from types import SimpleNamespace

from django.contrib.auth.hashers import make_password

from fleet.models import (
    Cluster,
    Deployment,
    EngineSample,
    Finding,
    GateResult,
    LatencySlot,
    ModelVersion,
    Node,
    ObservedEvent,
    ObservedPod,
    Release,
    Resolution,
    Rollout,
    RolloutEvent,
    Service,
    StartSample,
    TrafficSlot,
)
from fleet.rules.comparison import Cell, Held, Preemptions, Window
from fleet.rules.gate_limits import GateLimits
from fleet.rules.gates import Look, read_gate
from fleet.rules.histogram import Histogram
from fleet.rules.statistics import Table
from fleet.rules.traffic import ReleaseWindow, summed
from tenants.base.scope import fleet_scope
from tenants.models import (
    ApiKey,
    Application,
    AuditEvent,
    ChangeRequest,
    ModelGrant,
    Quota,
    RoleBinding,
    Tenant,
    UsageSource,
    User,
)
from tests.console.contract_scene import furnish_contracts
from tests.console.kept_scene import keep_pods
from tests.console.money_scene import furnish_money
from tests.console.scaling_scene import furnish_scaling

PASSWORD = "correct horse battery staple"
GPUS = (("h200-sxm", 8), ("l40s", 4))
STEPS = [{"percent": percent, "hold_seconds": 60, "min_samples": 100} for percent in (5, 25, 50)]


@cache
def hashed() -> str:
    """Argon2 is slow on purpose: once a run is enough."""
    return make_password(PASSWORD)


def make_scene(now: datetime, *, services: int = 4, tenants: int = 3) -> SimpleNamespace:
    with fleet_scope():
        scene = Scene(now).build(services, tenants)
    return furnish_money(scene, now)


class Scene:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def ago(self, minutes: float) -> datetime:
        return self.now - timedelta(minutes=minutes)

    def build(self, services: int, tenants: int) -> SimpleNamespace:
        self.people = {
            "olga": self.person("olga", "operator"),
            "vic": self.person("vic", "approver"),
            "fin": self.person("fin", "finance"),
        }
        self.tenants = [self.tenant(i) for i in range(tenants)]
        self.people["mallory"] = self.person("mallory", "operator", self.tenants[-1])
        self.cluster = self.make_cluster("ams-1", "eu-west", self.ago(0.1))
        self.lost = self.make_cluster("fra-1", "eu-central", self.ago(12), "connection refused")
        self.services = [self.service(i) for i in range(services)]
        self.rollouts = self.make_rollouts()
        furnish_contracts(self.rollouts, self.people["olga"], self.now)
        self.spare = self.release(self.services[0], 3)
        self.traffic()
        self.finding()
        furnish_scaling(self.services[0], self.now)
        UsageSource.objects.create(name="gateway", public_id="s0000000", digest="f" * 64)
        self.audit = AuditEvent.objects.create(
            actor_id=self.people["olga"].pk, actor="olga@example.test", via="session",
            verb="tenant.create", target_kind="tenant", target_id=str(self.tenants[0].pk),
            target_name="acme", tenant_id=self.tenants[0].pk, after={"slug": "acme"},
        )  # fmt: skip
        return SimpleNamespace(
            olga=self.people["olga"], vic=self.people["vic"], fin=self.people["fin"],
            mallory=self.people["mallory"], tenants=self.tenants, cluster=self.cluster,
            lost=self.lost, services=self.services, rollouts=self.rollouts,
            releases=[s.current_release for s in self.services], change=self.change,
            spare=self.spare, quota=Quota.objects.get(tenant=self.tenants[0]), key="k0000000",
            audit=self.audit,
        )  # fmt: skip

    def person(self, name: str, role: str, tenant: Tenant | None = None) -> User:
        user = User.objects.create(email=f"{name}@example.test", name=name, password=hashed())
        RoleBinding.objects.create(user=user, role=role, tenant=tenant)
        return user

    def tenant(self, i: int) -> Tenant:
        slug = ("acme", "globex", "initech")[i] if i < 3 else f"tenant-{i}"
        tenant = Tenant.objects.create(slug=slug, name=slug.capitalize())
        app = Application.objects.create(tenant=tenant, slug="assistant", name="Assistant")
        ApiKey.objects.create(
            tenant=tenant, application=app, name="ci", public_id=f"k{i:07}", digest=f"{i:064}",
            scopes=["inference"], traffic_class="interactive",
        )  # fmt: skip
        quota = Quota.objects.create(
            tenant=tenant, series=0, requests_per_minute=600, tokens_per_minute=100_000,
            concurrency=20, monthly_budget=2000, monthly_tokens=300_000_000,
        )  # fmt: skip
        quota.series = quota.pk
        quota.save(update_fields=["series"])
        ModelGrant.objects.create(tenant=tenant, model="chat-small")
        return tenant

    def make_cluster(self, slug: str, region: str, seen: datetime, trouble: str = "") -> Cluster:
        cluster = Cluster.objects.create(
            slug=slug, name=slug.upper(), region=region, server=f"https://{slug}.example.test:6443",
            observed_at=seen, observed_version="v1.36.2", trouble=trouble,
            permissions=[
                {"verb": "get", "resource": "pods", "namespace": "models", "allowed": True,
                 "why": ""},
                {"verb": "patch", "resource": "deployments", "namespace": "models",
                 "allowed": not trouble, "why": "no rule grants it" if trouble else ""},
            ],
        )  # fmt: skip
        for i in range(6):
            product, gpus = GPUS[i % 2]
            Node.objects.create(
                cluster=cluster, name=f"{product}-{i:02}", gpu_product=product,
                gpus_allocatable=gpus, gpus_used=gpus if i < 3 else 2, zone="a", ready=i != 5,
                cordoned=i == 4, trouble="kubelet stopped posting node status" if i == 5 else "",
                changed_at=self.ago(300), observed_at=seen,
            )  # fmt: skip
        return cluster

    def service(self, i: int) -> Service:
        name = ("chat-small", "chat-large", "code-large", "embed")[i] if i < 4 else f"service-{i}"
        service = Service.objects.create(
            name=name, cluster=self.cluster, replicas=2, description=f"{name} for everybody",
            objectives={"interactive": {"ttft_ms": 800, "itl_ms": 40, "queue_ms": 2000}},
            max_model_len=4096, demo=True, fallbacks=["chat-small"] if i == 1 else [],
        )  # fmt: skip
        first = self.release(service, 1)
        service.current_release = first
        service.save(update_fields=["current_release"])
        self.deploy(service, first, weight=100, replicas=2)
        for seconds, kept in ((181.0, "warm"), (195.5, "warm"), (240.2, "cold")):
            StartSample.objects.create(
                service=service, release=first, cluster=self.cluster, node_pool="reserved",
                cache=kept, pod_uid=f"start-{name}-{seconds}", seconds=seconds,
            )  # fmt: skip
        return service

    def release(self, service: Service, number: int) -> Release:
        seed = f"{service.name}{number}".encode()
        model, _ = ModelVersion.objects.get_or_create(
            name=f"example/{service.name}", commit=hashlib.sha1(seed).hexdigest(), licence="MIT"
        )
        return Release.objects.create(
            service=service, number=number, model_version=model, image="vllm/vllm-openai",
            image_digest="sha256:" + hashlib.sha256(seed).hexdigest(),
            arguments=["--max-model-len=4096", f"--max-num-seqs={32 * number}"],
            environment={"VLLM_LOGGING_LEVEL": "INFO"},
            resources={"gpu_product": "h200-sxm", "gpus": 2, "cpu": "8", "memory": "64Gi"},
            probes={"startup_seconds": 600, "drain_seconds": 60},
            digest=hashlib.sha256(b"release" + seed).hexdigest(),
            note=f"Release {number}", created_by=self.people["olga"],
            image_resolution=self.resolution(hashlib.sha256(seed).hexdigest()),
            model_resolution=self.signed(model),
        )  # fmt: skip

    def resolution(self, digest: str) -> Resolution:
        answer = {"url": "https://hub.example/v2/vllm/manifests/0.32", "bytes": 1204,
                  "media_type": "application/vnd.oci.image.index.v1+json",
                  "platforms": ["linux/amd64", "linux/arm64"]}  # fmt: skip
        signature = {"state": "verified", "why": "Signed with the key builder", "key": "builder"}
        return Resolution.objects.create(
            kind=Resolution.IMAGE, name="vllm/vllm-openai", label="0.32", answer=answer,
            pinned=f"sha256:{digest}", signature=signature, asked_by=self.people["olga"],
        )  # fmt: skip

    def signed(self, model: ModelVersion) -> Resolution:
        """With a signature that does not cover every file."""
        signature = {"state": "partial", "key": "maker", "covered": ["config.json", "w.bin"],
                     "outside": ["custom.py"], "why": "Signed with the key maker, which covers 2"
                     " of 3 files and not custom.py"}  # fmt: skip
        answer = {"url": f"https://hub.example/api/models/{model.name}", "files": 3, "weights": 10}
        return Resolution.objects.create(
            kind=Resolution.MODEL, name=model.name, label="main", pinned=model.commit,
            answer=answer, signature=signature, asked_by=self.people["olga"],
        )  # fmt: skip

    def deploy(self, service: Service, release: Release, *, weight: int, replicas: int, **pod):
        deployment = Deployment.objects.create(
            service=service, release=release, cluster=self.cluster, replicas=replicas,
            name=f"{service.name}-{release.fingerprint}", weight=weight,
        )  # fmt: skip
        for i in range(replicas):
            uid = f"{service.name}-{release.number}-{i}"
            ready = not pod
            shape = {"phase": "Running", "ready": ready, "admitted": ready, "restarts": 0,
                     "ready_at": self.ago(60) if ready else None, "probe_passes": 20,
                     "probe": f"answers as {release.fingerprint}", "probed_at": self.ago(0.3),
                     }  # fmt: skip
            ObservedPod.objects.create(
                cluster=self.cluster, deployment=deployment, uid=uid,
                name=f"{deployment.name}-{i}xk4n", release=release.fingerprint,
                node=f"h200-sxm-{i * 2:02}", address=f"10.0.0.{i + 1}", gpus=2,
                image_id=release.image_digest, created_at=self.ago(70), observed_at=self.ago(0.1),
                **(shape | pod),
            )  # fmt: skip
            ObservedEvent.objects.create(
                cluster=self.cluster, uid=f"event-{uid}", at=self.ago(69), kind="Pod",
                name=f"{deployment.name}-{i}xk4n", reason="Scheduled",
                message="assigned to a node",
            )  # fmt: skip
            if ready:
                EngineSample.objects.create(
                    pod_uid=uid, service=service, release_id=release.pk, at=self.ago(0.1),
                    running=4, waiting=1, kv_usage=0.41, prompt_tokens=10, generation_tokens=20,
                )  # fmt: skip
        return deployment

    def make_rollouts(self) -> dict[str, Rollout]:
        small, large, code, embed = self.services[:4]
        made = {
            "succeeded": self.rollout(small, self.release(small, 2), "succeeded", ended=True),
            "analyzing": self.rollout(large, self.release(large, 2), "analyzing", step=1),
            "waiting": self.rollout(code, self.release(code, 2), "awaiting_approval"),
            "rolled_back": self.rollout(
                embed, self.release(embed, 2), "rolled_back", ended=True, cause="crash_loop"
            ),
            "paused": self.rollout(embed, self.release(embed, 3), "paused", wish="pause"),
        }
        self.deploy(large, made["analyzing"].to_release, weight=25, replicas=1)
        self.deploy(
            embed, made["rolled_back"].to_release, weight=0, replicas=1, ready=False,
            admitted=False, restarts=4, reason="CrashLoopBackOff", phase="Running",
            message="back-off 40s restarting failed container", probe="", probed_at=None,
            last_log="INFO start\nERROR EngineCore failed to start\nRuntimeError: CUDA failure",
            ready_at=None, probe_passes=0,
        )  # fmt: skip
        self.change = ChangeRequest.objects.create(
            kind="rollout", target_id=made["waiting"].pk, title="code-large: r1 to r2",
            payload={"rollout": made["waiting"].pk, "manifests": []}, digest="d" * 64,
            reason="Longer answers", requester=self.people["olga"],
            expires_at=self.now + timedelta(hours=4),
        )  # fmt: skip
        Rollout.objects.filter(pk=made["waiting"].pk).update(change_id=self.change.pk)
        keep_pods(made["rolled_back"], self.ago(10))
        for minutes, verdict in ((6, "inconclusive"), (3, "inconclusive"), (1, "inconclusive")):
            kept = read_gate(self.compared(minutes), 1500, GateLimits(), Look(2, 3)).as_json()
            GateResult.objects.create(
                rollout=made["analyzing"], step=1, window_start=self.ago(minutes + 2),
                window_end=self.ago(minutes), verdict=verdict, checks=kept["checks"],
                why=kept["why"], evidence=kept["evidence"],
            )  # fmt: skip
        return made

    def compared(self, minutes: int) -> Window:
        """Two tenants with enough samples, of which one is a little slower, and a small one."""
        names = {t.pk: t.slug for t in self.tenants}
        cells = []
        for tenant, n, ttft in zip(self.tenants, (900, 500, 12), (71, 73, 71), strict=False):
            canary, stable = (
                ReleaseWindow(
                    {"served": size - bad, "failed": bad},
                    ttft=Histogram({68: size, at: size // 12}),
                    itl=Histogram({36: size}), output=Histogram({48: size}),
                    gpu=Histogram({34: size}), finish=Histogram({0: size - bad, 1: bad}),
                    prompt_tokens=900 * size, cached_tokens=cached * size,
                )
                for size, bad, at, cached in ((n, 2, ttft, 310), (3 * n, 5, 71, 420))
            )  # fmt: skip
            cells.append(Cell(canary, stable, tenant.pk, "interactive"))
        return Window(
            self.ago(minutes + 2), self.ago(minutes), summed(c.canary for c in cells),
            summed(c.stable for c in cells), cells, names,
            preemptions=Preemptions(3, 7, tables=(Table(1, 2, 2, 3),)),
            held=(Held(90_000, 2400.0), Held(300_000, 7200.0)),
            sources=("SELECT tenant_id, outcome, sum(requests) FROM traffic_slot GROUP BY 1, 2",),
        )  # fmt: skip

    def rollout(self, service, to, phase, *, step=0, ended=False, wish="run", cause="") -> Rollout:
        rollout = Rollout.objects.create(
            service=service, cluster=self.cluster, from_release=service.current_release,
            to_release=to, plan_kind="surge_canary", plan=PLAN, steps=STEPS, replicas=2,
            reason="Longer answers", requested_by=self.people["olga"], manifest_digest="ab" * 32,
            wish=wish, phase=phase, step=step, phase_since=self.ago(11), cause=cause,
            why=f"{service.name} is {phase.replace('_', ' ')}: 88 of 1,500 samples are missing",
            started_at=self.ago(40), ended_at=self.ago(5) if ended else None,
        )  # fmt: skip
        for at, why in (("validating", "7 objects pass a dry run"), (phase, rollout.why)):
            RolloutEvent.objects.create(
                rollout=rollout, phase=at, step=step, why=why, detail={"weight_new": 25}
            )
        return rollout

    def traffic(self) -> None:
        counts, latencies = [], []
        start = self.now.replace(second=0, microsecond=0)
        start -= timedelta(minutes=start.minute % 5)
        for k in range(12):
            slot = start - timedelta(minutes=5 * k)
            for tenant in self.tenants[:3]:
                for service in self.services:
                    place = {
                        "seconds": 300, "slot": slot, "tenant_id": tenant.pk,
                        "service_id": service.pk, "traffic_class": "interactive",
                        "release_id": service.current_release_id,
                    }  # fmt: skip
                    for outcome, n in (("served", 400), ("shed", 7), ("rejected", 3)):
                        counts.append(TrafficSlot(**place, outcome=outcome, requests=n))
                    for metric, bucket in (("ttft", 60), ("itl", 35), ("queue", 20)):
                        latencies.append(
                            LatencySlot(**place, metric=metric, bucket=bucket, samples=400)
                        )
        TrafficSlot.objects.bulk_create(counts)
        LatencySlot.objects.bulk_create(latencies)
        self.fine_traffic(start)

    def fine_traffic(self, start: datetime) -> None:
        """The 10 s slots of the service that is being analyzed: one in four goes to the canary."""
        service = self.services[1]
        canary = self.rollouts["analyzing"].to_release_id
        for k in range(60):
            for release, n in ((service.current_release_id, 30), (canary, 10)):
                place = {
                    "seconds": 10, "slot": start - timedelta(seconds=10 * k),
                    "tenant_id": self.tenants[0].pk, "service_id": service.pk,
                    "traffic_class": "interactive", "release_id": release,
                }  # fmt: skip
                TrafficSlot.objects.create(**place, outcome="served", requests=n)
                LatencySlot.objects.create(**place, metric="ttft", bucket=65, samples=n)
                LatencySlot.objects.create(**place, metric="itl", bucket=36, samples=n)

    def finding(self) -> None:
        Finding.objects.create(
            tenant_id=self.tenants[1].pk, service=self.services[0], traffic_class="interactive",
            symptom="shed", started_at=self.ago(51), seen_at=self.ago(0.2), cause="saturation",
            sentence="KV cache is full on 2 of 2 replicas: 2,131 of 38,420 requests shed (5.5 %).",
            evidence=[
                {
                    "cause": "saturation", "score": 0.55, "because": "its engines are full",
                    "evidence": [
                        {"label": "KV cache", "value": "99 %", "kind": "service",
                         "key": self.services[0].name, "fleet_only": False},
                    ],
                },
                {
                    "cause": "rollout", "score": 0.15, "because": "RO-1 moves to r2",
                    "evidence": [],
                },
            ],
            requests=38420, affected=2131,
        )  # fmt: skip


PLAN = {
    "plan": {
        "kind": "surge_canary", "answer": "possible", "surge": 1, "gpus_on_top": 2,
        "why": "2 h200-sxm on top, 12 free: 1 of 2 replicas at a time, never below 100 %",
        "gpus_free": 12, "gpus_claimed": 0, "gpus_missing": 0, "min_replicas": 2,
        "min_percent": 100.0, "finish_seconds": 5400.0, "traffic_back_seconds": 5.0,
        "full_back_seconds": 5.0,
        "unmeasured": ["cold start of the new release: 0 starts seen"],
    },
    "numbers": {
        "old_replicas": 2, "min_replicas": 2, "surge": 1, "gpus_new": 2, "gpus_old": 2,
        "product": "h200-sxm", "start_seconds": 600, "back_seconds": 600, "patience_seconds": 60,
        "drain_seconds": 120, "soak_seconds": 1800, "limits": {},
    },
}  # fmt: skip
