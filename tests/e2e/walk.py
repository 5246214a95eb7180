"""The people of a walk, what they made so far, and the moves that they repeat."""

import hashlib
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from sandbox.cluster.kube import Json
from tests.e2e.clients import Tenant
from tests.e2e.counters import Counted, EngineCounters, add
from tests.fixtures.kubernetes import PODS
from tests.fixtures.stack import Caller, Stack, until

L40S = "NVIDIA-L40S"
LENGTH = 2048
# A real engine takes 40 s of a core to load, of which it gets what the machine's other tests leave.
STARTUP_SECONDS = {"vllm": 900, "standin": 30}
ROLLOUT_SECONDS = STARTUP_SECONDS["vllm"] + 300
REAL = ("--dtype=float32", "--enforce-eager", "--load-format=dummy")
PRICES = {"prompt": "0.70", "cached": "0.07", "completion": "2.10"}  # of a million tokens


@dataclass
class Walk:
    """One tenant, one service, and everybody who touches them."""

    stack: Stack
    name: str = field(default_factory=lambda: secrets.token_hex(3))
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    service_id: int = 0
    releases: dict[str, Json] = field(default_factory=dict)
    rollouts: list[Json] = field(default_factory=list)
    clients: list[Tenant] = field(default_factory=list)
    keys: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.operator = self.stack.person("operator")
        self.approver = self.stack.person("approver")
        self.finance = self.stack.holder(self.stack.ready["finance_token"])
        self.tenant, self.model = f"hooli-{self.name}", f"assistant-{self.name}"
        self.hour = self.began.replace(minute=0, second=0, microsecond=0)
        self.counters = EngineCounters(self.stack, self.model)

    @property
    def is_real(self) -> bool:
        return self.stack.engine == "vllm"

    @property
    def replicas(self) -> int:
        return 1 if self.is_real else 2  # a real engine takes 2.4 GB

    def open_service(self) -> None:
        cluster = self.operator.get("clusters")[0]
        service = {"name": self.model, "cluster_id": cluster["id"], "replicas": self.replicas}
        more = {"max_model_len": LENGTH, "default_max_tokens": 64}
        made = self.operator.post("services", service | more, 201)
        self.service_id = made["service"]["id"]

    def open_tenant(self, *applications: str) -> None:
        """A tenant with applications, which may call the service."""
        tenant = {"slug": self.tenant, "name": "Hooli", "why": "signed today"}
        self.operator.post("tenants", tenant, 201)
        for slug in applications:
            application = {"slug": slug, "name": slug.title(), "cost_centre": f"HO-{slug}"}
            self.operator.post(f"tenants/{self.tenant}/applications", application, 201)
        path = f"tenants/{self.tenant}/models/{self.model}"
        self.operator.call("PUT", path, {"why": "signed today"})

    def new_key(self, name: str, application: str = "desk", **wish) -> Tenant:
        """Make a key and hand it to a program; wait until the gateway knows it."""
        path = f"tenants/{self.tenant}/applications/{application}/keys"
        made = self.operator.post(path, {"name": name} | wish, 201)
        self.keys[name] = made
        client = Tenant(self.stack.ready["gateway_url"], self.model, made["secret"])
        self.clients.append(client)
        until("the key at the gateway", lambda: self.knows(made["secret"]), 15)
        return client

    def knows(self, secret: str) -> bool:
        """Listing models makes no usage."""
        http = self.stack.holder(secret).http
        return http.get(f"{self.stack.ready['gateway_url']}/v1/models").status_code == 200

    @property
    def sent(self) -> Counter[str]:
        return sum((client.sent for client in self.clients), Counter())

    def release_fields(self, image: str, **changes) -> Json:
        commit = "sha256:" + hashlib.sha256(b"random weights").hexdigest()
        is_vllm = "vllm-cpu" in image
        return {
            "service_id": self.service_id,
            "model": {"name": "/models/tiny", "commit": commit},
            "image": image,
            "arguments": [f"--max-model-len={LENGTH}", *(REAL if is_vllm else ())],
            "resources": {
                "gpu_product": L40S,
                "gpus": 1,
                "cpu": "100m",
                "memory": "4Gi" if is_vllm else "256Mi",
            },
            "probes": {
                "startup_seconds": STARTUP_SECONDS["vllm" if is_vllm else "standin"],
                "pre_stop_seconds": 3,
                "drain_seconds": 10,
                "teardown_seconds": 5,
            },
        } | changes

    def release(self, name: str, image: str, **changes) -> Json:
        made = self.operator.post("releases", self.release_fields(image, **changes), 201)
        self.releases[name] = made["release"]
        return made["release"]

    def propose(self, release: Json, **wish) -> Json:
        fields = {"service_id": self.service_id, "release_id": release["id"], "soak_seconds": 3}
        made = self.operator.post("rollouts", fields | {"reason": "a walk"} | wish, 201)
        self.rollouts.append(made)
        return made

    def approve(self, rollout: Json) -> None:
        approval = rollout["approval"]
        given = {"digest": approval["digest"], "approve": True, "why": "as read"}
        self.approver.post(f"changes/{approval['change_id']}/decide", given)

    def follow(self, rollout: Json) -> Json:
        """Wait for the end of a rollout; return it as it ended."""
        path = f"rollouts/{rollout['rollout']['id']}"

        def ended() -> Json | None:
            found = self.operator.get(path)
            return None if found["rollout"]["is_open"] else found

        found: Json = until("the end of the rollout", ended, ROLLOUT_SECONDS, every=0.7)
        return found

    def roll_out(self, release: Json, **wish) -> Json:
        rollout = self.propose(release, **wish)
        self.approve(rollout)
        return self.follow(rollout)

    def steps(self) -> list[Json]:
        """A real engine shares two cores with everything: no latency of it can be a gate."""
        return [] if self.is_real else [{"percent": 50, "hold_seconds": 5, "min_samples": 20}]

    def slow_down(self, fingerprint: str, ttft_ms: int) -> None:
        """Make the replicas of a release slower, so that no noise of the machine decides a gate."""
        if self.is_real:
            return
        selector = f"quartermaster.dev/release={fingerprint}"
        for pod in self.stack.kube.get(PODS, labelSelector=selector)["items"]:
            url = f"http://{pod['status']['podIP']}:9900/admin/config"
            assert httpx.put(url, json={"ttft_ms": ttft_ms}, trust_env=False).is_success

    def usage(self, **filters) -> list[Json]:
        since = self.began.isoformat()
        return self.finance.rows("usage/events", tenant=self.tenant, since=since, **filters)

    def settled_usage(self) -> list[Json]:
        """The rows once every request that was sent has one."""
        want = sum(self.sent.values())
        until("all usage rows", lambda: len(self.usage()) >= want, 60, every=1.0)
        time.sleep(2)  # one that came twice would come now
        return self.usage()

    def probes(self) -> tuple[Counted, Counted]:
        """Tokens that the console itself asked of the engines: all, and those that an engine may
        have taken with it when it crashed.
        """
        query = "SELECT pod_uid, at, prompt_tokens, completion_tokens FROM engine_probe"
        rows = self.stack.sql(f"{query} WHERE service_id = %s", self.service_id)
        lost = [row for row in rows if self.counters.may_have_missed(row[0], row[1])]
        return add(Counted(*row[2:]) for row in rows), add(Counted(*row[2:]) for row in lost)


def person_is_refused(caller: Caller, path: str, body: Json, status: int) -> str:
    """Return the sentence of the refusal."""
    problem = caller.post(path, body, status)
    assert problem["code"] and problem["detail"], problem
    sentence: str = problem["detail"]
    return sentence
