"""A namespace in memory: Deployments make pods, pods take GPUs, load, drain and go.

It has the methods of `fleet.clients.workloads.Workloads`. Time passes only by `tick`. What the
pods of a release do is told by its fingerprint: `behave("rel-...", "crash")`, or "rel-.../decode".
"""

import copy
from datetime import datetime, timedelta
from itertools import count

from fleet.clients.errors import ClientError, Permanent
from fleet.clients.workloads import Owned
from fleet.rules.groups import is_worker
from fleet.rules.kueue import GATE, QUEUE
from fleet.rules.manifests import ADMITTED, RELEASE, ROLE, SCALED
from fleet.rules.members import POD_INDEX
from tests.fakes.engines import FakeEngines
from tests.fakes.refusals import FULL, FakeRefusals, gpus_of

BEHAVIOURS = (
    "good",
    "crash",
    "oom",
    "pull",
    "never_ready",
    "wrong_fingerprint",
    "short_answers",
    "quota",
    "hangs",
    "breaks_contract",
    "mute",  # answers probes and no prompt
    "fails_prompts",
    "returns",  # ends once after it loaded, and its leader does not notice
)


def seen(item):
    """As it is now, for a reader: what changes later is replaced and never changed in place."""
    return item | {"metadata": dict(item["metadata"])} | _parts(item, "spec", "status")


def _parts(item, *names):
    return {name: dict(item[name]) for name in names if name in item}


class FakeWorkloads(FakeEngines, FakeRefusals):
    def __init__(
        self,
        now: datetime,
        gpus: int | dict[str, int] = 8,
        load_ticks: int = 2,
        drain_ticks: int = 2,
    ):
        self.now = now
        self.gpus = gpus  # in all, or by product
        self.load_ticks, self.drain_ticks = load_ticks, drain_ticks
        self.deployments: dict[str, dict] = {}
        self.beside: dict[tuple[str, str], dict] = {}  # what else releases have, by kind and name
        self.pods: dict[str, dict] = {}
        self.behaviours: dict[str, str] = {}
        self.numbers = count(1)
        self.taken_away: list[dict] = []
        self.calls: list[tuple[str, ...]] = []
        self.down = False
        self.gate = ""  # the queue of Kueue that new pods wait in
        self.owned_by = ""  # another field manager, of all fields
        self.numbered_by: dict[str, str] = {}  # who took the replicas of a Deployment, by its name
        self.quota: int | None = None  # GPUs that all pods together may ask for
        self.says_nothing = False  # a container that has just begun again
        self.refuses_logs = ""
        self.refuses = ""  # what a dry run says
        self.dated = False  # conditions say since when
        self.claims: set[str] = set()  # names of PersistentVolumeClaims
        self.fetching: dict[str, dict] = {}
        self.fetches: dict = {"phase": "Succeeded"}  # what becomes of these pods
        self.forbids = ""  # what every write is told
        self.denies = False  # it is told that of the account
        self.admits_none: ClientError | None = None  # what who writes a pod's status is told
        self.loses = 0  # writes that are done and not answered
        self.dark = False  # the nodes are silent: no pod is ready, no engine answers
        self.adapters: tuple[str, ...] = ()  # that engines answer to as well

    # -- as the API server ---------------------------------------------------

    def look(self, selector, kinds=()):
        self._reach("look", selector)
        return {
            "deployments": [seen(d) for d in self.deployments.values()],
            "replicasets": [self._replica_set(d) for d in self.deployments.values()],
            "pods": [seen(p) for p in self.pods.values()],
            "events": [e for d in self.deployments.values() for e in self._events(d)],
        }

    def apply(self, manifest, *, dry_run=False, force=False):
        name = manifest["metadata"]["name"]
        self._reach("dry_run" if dry_run else "apply", name)
        if dry_run and self.refuses:
            raise Permanent(self.refuses, status=422)
        if force:
            self.owned_by = ""
        if self.owned_by and (not dry_run or name in self.deployments):
            raise Owned(f'.spec.replicas: conflict with "{self.owned_by}"', status=409)
        self._contest(manifest)
        if not dry_run:
            self._forbid()
        if manifest["kind"] in SCALED and not dry_run:
            uid = self.deployments.get(name, {}).get("metadata", {}).get("uid")
            found = seen(manifest)
            found["metadata"]["uid"] = uid or f"d{next(self.numbers)}"
            if "replicas" not in found["spec"]:
                found["spec"]["replicas"] = self.deployments[name]["spec"]["replicas"]
            self.deployments[name] = found
            self._lose()
            return seen(found)
        if not dry_run:
            self.beside[manifest["kind"], name] = copy.deepcopy(manifest)
        return manifest

    def around(self, selector, kinds):
        self._reach("around", selector)
        return [item for (kind, _), item in self.beside.items() if kind in kinds]

    def take_away(self, name, uid, patch, kind="Deployment"):
        self._reach("take_away", name)
        self.taken_away.append(patch)

    def own_alone(self, name, version, managed, kind="Deployment"):
        self._reach("own_alone", name)

    def set_condition(self, pod, uid, condition):
        self._reach("admit", pod)
        if self.admits_none:
            raise self.admits_none
        found = self.pods.get(uid)
        if found:
            found["status"]["conditions"] = [
                c for c in found["status"]["conditions"] if c["type"] != condition["type"]
            ] + [condition]
            self._ready(found)

    def log(self, pod, *, previous, lines, most):
        self._reach("log", pod)
        if self.refuses_logs:
            raise Permanent(self.refuses_logs, status=403)
        run = "before" if previous else "now"
        if not previous and self.says_nothing:
            return ""
        return f"INFO loading\nHF_TOKEN=hf_abcdefghijkl\nRuntimeError: {run}"

    def list_pods(self, selector):
        self._reach("list_pods", selector)
        return list(self.fetching.values())

    def lacks_claim(self, name):
        self._reach("lacks_claim", name)
        return name not in self.claims

    def make(self, pod):
        """It ends at once, with the image on its node or without."""
        name = pod["metadata"]["name"]
        self._reach("make", name)
        self.fetching[name] = pod | {
            "metadata": pod["metadata"]
            | {"uid": f"f-{name}", "creationTimestamp": self.now.isoformat()},
            "status": dict(self.fetches),
        }

    def delete(self, kind, name, uid, *, grace_seconds=None):
        self._reach("delete", name)
        self._forbid()
        self.fetching.pop(name, None)
        if kind == "Pod" and uid in self.pods:
            self._terminate(self.pods[uid])
        found = self.deployments.get(name)
        if found and found["metadata"]["uid"] == uid:
            del self.deployments[name]
            self.numbered_by.pop(name, None)
            for pod in self._pods_in(found):
                self._terminate(pod)
            self._lose()

    # -- as controllers, scheduler and kubelet ---------------------------------

    def behave(self, release: str, behaviour: str) -> None:
        self.behaviours[release] = behaviour

    def tick(self, seconds: float = 5) -> None:
        self.now += timedelta(seconds=seconds)
        for deployment in list(self.deployments.values()):
            self._scale(deployment)
        for uid, pod in list(self.pods.items()):
            self._live(uid, pod)

    def used(self, product: str = "") -> int:
        placed = [p for p in self.pods.values() if p["spec"].get("nodeName")]
        return sum(p["gpus"] for p in placed if product in ("", p["product"]))

    def fits(self, pod) -> bool:
        if isinstance(self.gpus, int):
            return self.used() + pod["gpus"] <= self.gpus
        return self.used(pod["product"]) + pod["gpus"] <= self.gpus.get(pod["product"], 0)

    def serving(self, release: str) -> int:
        return len(self.ready(release))

    def ready(self, release: str) -> list[dict]:
        """Pods, those left out that are on their way out."""
        live = (p for p in self._pods_of(release) if "deletionTimestamp" not in p["metadata"])
        return [p for p in live if self._is(p, "Ready")]

    def _scale(self, deployment) -> None:
        release = deployment["metadata"]["labels"][RELEASE]
        if self.behaviours.get(release) == "quota":
            return
        live = [p for p in self._pods_in(deployment) if "deletionTimestamp" not in p["metadata"]]
        wanted = deployment["spec"].get("replicas", 0)
        if deployment["kind"] == "StatefulSet":
            self._number(deployment, wanted)
            return
        for _ in range(wanted - len(live)):
            if not self._exceeds(deployment):
                self._make(deployment, release)
        # As Kubernetes does: those that are not ready go first.
        for pod in sorted(live, key=lambda p: self._is(p, "Ready"))[: max(len(live) - wanted, 0)]:
            self._terminate(pod)

    def _number(self, stateful, wanted: int) -> None:
        """Pods have numbers from 0; the highest go first, and one that is gone is made anew."""
        there = {int(p["metadata"]["labels"][POD_INDEX]): p for p in self._pods_in(stateful)}
        for index in set(range(wanted)) - there.keys():
            pod = self._make(stateful, stateful["metadata"]["labels"][RELEASE])
            pod["metadata"]["labels"][POD_INDEX] = str(index)
            pod["metadata"]["name"] = f"{stateful['metadata']['name']}-{index}"
        for index in there.keys() - set(range(wanted)):
            self._terminate(there[index])

    def _make(self, deployment, release: str) -> dict:
        number = next(self.numbers)
        template = deployment["spec"]["template"]
        uid = f"p{number}"
        self.pods[uid] = {
            "gpus": gpus_of(deployment),
            "product": template["spec"].get("nodeSelector", {}).get("nvidia.com/gpu.product", ""),
            "age": 0,
            "metadata": {
                "uid": uid,
                "name": f"{deployment['metadata']['name']}-{number}",
                "labels": dict(template["metadata"]["labels"]),
                "creationTimestamp": self.now.isoformat(),
            },
            "spec": {"containers": template["spec"]["containers"]}
            | ({"schedulingGates": [{"name": GATE}]} if self.gate else {}),
            "status": {"phase": "Pending", "conditions": [], "podIP": f"10.0.0.{number}"},
        }
        return self.pods[uid]

    def _live(self, uid: str, pod) -> None:
        if "deletionTimestamp" in pod["metadata"]:
            pod["drain"] -= 1
            if pod["drain"] <= 0:
                del self.pods[uid]
            return
        if not pod["spec"].get("nodeName"):
            self._schedule(pod)
            return
        pod["age"] += 1
        self._run(pod, self._behaviour(pod))

    def _schedule(self, pod) -> None:
        if pod["spec"].get("schedulingGates"):
            if self.gate:
                self._set(pod, "PodScheduled", "False", "SchedulingGated", "gated")
                pod["metadata"]["labels"] = pod["metadata"]["labels"] | {QUEUE: self.gate}
                return
            del pod["spec"]["schedulingGates"]
        if self.fits(pod):
            pod["spec"]["nodeName"] = "gpu-1"
            self._set(pod, "PodScheduled", "True")
        else:
            self._set(pod, "PodScheduled", "False", "Unschedulable", "Insufficient nvidia.com/gpu")

    def _run(self, pod, behaviour: str) -> None:
        status = pod["status"]
        ended = {
            "terminated": {"reason": "Error", "exitCode": 1, "message": "boom\nRuntimeError: no"}
        }
        if behaviour in ("crash", "oom"):
            killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
            status["containerStatuses"] = [
                {
                    "restartCount": pod["age"],
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": killed if behaviour == "oom" else ended,
                }
            ]
        elif behaviour == "pull":
            text = 'Back-off pulling image "x": not found'
            waiting = {"reason": "ImagePullBackOff", "message": text}
            status["containerStatuses"] = [{"state": {"waiting": waiting}}]
        elif behaviour == "returns" and self._is(pod, "ContainersReady"):
            again = pod.setdefault("again", self.now.isoformat())
            running = {"running": {"startedAt": again}}
            status["containerStatuses"] = [
                {"restartCount": 1, "state": running, "lastState": ended}
            ]
        elif behaviour != "never_ready" and pod["age"] >= self.load_ticks:
            status["containerStatuses"] = [{"state": {"running": {}}, "restartCount": 0}]
            self._set(pod, "ContainersReady", "True")
            self._ready(pod)

    def _ready(self, pod) -> None:
        works = is_worker(pod["metadata"]["labels"].get(ROLE, ""))  # it has no gate
        loaded, admitted = self._is(pod, "ContainersReady"), works or self._is(pod, ADMITTED)
        ready = loaded and admitted and not self.dark
        self._set(pod, "Ready", "True" if ready else "False")

    def _terminate(self, pod) -> None:
        if "deletionTimestamp" not in pod["metadata"]:
            pod["metadata"]["deletionTimestamp"] = self.now.isoformat()
            pod["drain"] = self.drain_ticks

    def _replica_set(self, deployment):
        release = deployment["metadata"]["labels"][RELEASE]
        wanted = deployment["spec"].get("replicas", 0)
        conditions = []
        if self._short(deployment) and deployment["kind"] == "Deployment":
            conditions = [{"type": "ReplicaFailure", "status": "True", "message": FULL}]
        return {
            "metadata": {"labels": {RELEASE: release}},
            "spec": {"replicas": wanted},
            "status": {"conditions": conditions},
        }

    def _events(self, item):
        """Of a set of numbered pods, which has no condition for it."""
        name = item["metadata"]["name"]
        if not self._short(item) or item["kind"] == "Deployment":
            return []
        text = f"create Pod {name}-0 in StatefulSet {name} failed error: {FULL}"
        about = {"kind": "StatefulSet", "name": name}
        return [{"involvedObject": about, "reason": "FailedCreate", "message": text,
                 "lastTimestamp": self.now.isoformat()}]  # fmt: skip

    def _short(self, item) -> bool:
        release, wanted = item["metadata"]["labels"][RELEASE], item["spec"].get("replicas", 0)
        if self.behaviours.get(release) == "quota":
            return bool(wanted > 0)
        live = [p for p in self._pods_in(item) if "deletionTimestamp" not in p["metadata"]]
        return len(live) < wanted and self._exceeds(item)

    def _behaviour(self, pod) -> str:
        """Of its role where that is told apart, else of its release."""
        labels = pod["metadata"]["labels"]
        own = self.behaviours.get(f"{labels[RELEASE]}/{labels.get(ROLE)}")
        return own or self.behaviours.get(labels[RELEASE], "good")

    def _pods_in(self, deployment):
        chosen = deployment["spec"]["selector"]["matchLabels"].items()
        return [p for p in self.pods.values() if chosen <= p["metadata"]["labels"].items()]

    def _pods_of(self, release: str):
        return [p for p in self.pods.values() if p["metadata"]["labels"][RELEASE] == release]

    @staticmethod
    def _is(pod, kind: str) -> bool:
        for condition in pod["status"]["conditions"]:
            if condition["type"] == kind:
                return condition["status"] == "True"
        return False

    def _set(self, pod, kind: str, status: str, reason: str = "", message: str = "") -> None:
        found = {"type": kind, "status": status, "reason": reason, "message": message}
        if any(found.items() <= c.items() for c in pod["status"]["conditions"]):
            return
        if self.dated:
            found["lastTransitionTime"] = self.now.isoformat()
        rest = [c for c in pod["status"]["conditions"] if c["type"] != kind]
        pod["status"]["conditions"] = [*rest, found]
