"""Kueue's queues: how many GPUs they still let in, and which pods wait for them. Pure.

A pod of a queue is made with a scheduling gate that Kueue takes away once the quota of the queue,
with what it may borrow from its cohort, has room. Until then nobody schedules it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleet.rules.answers import Quota
from fleet.rules.quantity import whole
from fleet.rules.release import GPU

GROUP = "kueue.x-k8s.io"
QUEUE = f"{GROUP}/queue-name"
GATE = f"{GROUP}/admission"
DEFAULT = "default"  # Kueue puts into the queue of this name what names none

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SeenQueue:
    """GPUs of one flavor of the ClusterQueue behind a LocalQueue of our namespace."""

    name: str  # of the LocalQueue
    cluster_queue: str
    flavor: str
    product: str  # of the nodes of the flavor; empty: any
    nominal: int
    used: int  # reserved, by whomever
    borrowed: int  # of the used ones: beyond nominal
    limit: int  # that it may ever hold, borrowed ones included
    free: int  # that it lets in now
    pending: int  # workloads of the LocalQueue that wait
    held: bool  # an administrator stopped it, or something that it names is missing


@dataclass(frozen=True, slots=True)
class SeenKueue:
    """What a cluster with Kueue said. `of`: the queue that the pods of a service name."""

    readable: bool = False
    queues: tuple[SeenQueue, ...] = ()
    of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Share:
    """GPUs of a flavor in one ClusterQueue."""

    nominal: int
    borrow: int | None  # None: without a limit
    lend: int | None
    used: int
    borrowed: int

    @property
    def lends(self) -> int:
        """What the cohort may take of it now."""
        kept = self.nominal - min(self.lend, self.nominal) if self.lend is not None else 0
        return self.nominal - kept - max(self.used - kept, 0)

    @property
    def lends_at_most(self) -> int:
        return self.nominal if self.lend is None else min(self.lend, self.nominal)


def read_kueue(found: Mapping[str, Sequence[Json]], of: Mapping[str, str]) -> SeenKueue:
    products = {f["metadata"]["name"]: product_of(f) for f in found["resourceflavors"]}
    cluster_queues = {q["metadata"]["name"]: q for q in found["clusterqueues"]}
    rows: list[SeenQueue] = []
    for queue in found["localqueues"]:
        spec = queue.get("spec", {})
        behind = cluster_queues.get(spec.get("clusterQueue", ""))
        if behind is not None:
            rows += _rows(queue, behind, cluster_queues.values(), products)
    return SeenKueue(True, tuple(rows), dict(of))


def product_of(flavor: Json) -> str:
    labels = flavor.get("spec", {}).get("nodeLabels") or {}
    return str(labels.get(f"{GPU}.product", ""))


def _rows(
    queue: Json, behind: Json, everybody: Iterable[Json], products: Mapping[str, str]
) -> list[SeenQueue]:
    cohort = cohort_of(behind)
    others = [q for q in everybody if cohort and q is not behind and cohort_of(q) == cohort]
    held = is_held(behind) or is_held(queue)
    rows = []
    for flavor, own in shares_of(behind).items():
        lenders = [s for q in others if (s := shares_of(q).get(flavor))]
        at_most = sum(s.lends_at_most for s in lenders)
        now = max(own.nominal - own.used + sum(s.lends for s in lenders), 0)
        limit = own.nominal + (at_most if own.borrow is None else min(at_most, own.borrow))
        rows.append(
            SeenQueue(
                name=queue["metadata"]["name"],
                cluster_queue=behind["metadata"]["name"],
                flavor=flavor,
                product=products.get(flavor, ""),
                nominal=own.nominal,
                used=own.used,
                borrowed=own.borrowed,
                limit=limit,
                free=0 if held else max(min(now, limit - own.used), 0),
                pending=int(queue.get("status", {}).get("pendingWorkloads", 0)),
                held=held,
            )
        )
    return rows


def cohort_of(queue: Json) -> str:
    spec = queue.get("spec", {})
    return str(spec.get("cohortName") or spec.get("cohort") or "")


def is_held(queue: Json) -> bool:
    """It lets nobody in: stopped, or not active, as one whose flavor is not there."""
    told = {c["type"]: c["status"] for c in queue.get("status", {}).get("conditions") or ()}
    stopped = queue.get("spec", {}).get("stopPolicy", "None") != "None"
    return stopped or told.get("Active") == "False"


def shares_of(queue: Json) -> dict[str, _Share]:
    """By flavor, of those that give GPUs."""
    status = queue.get("status", {})
    held = status.get("flavorsReservation") or status.get("flavorsUsage") or []
    usage = {f["name"]: _gpus(f) for f in held}
    groups = queue.get("spec", {}).get("resourceGroups") or []
    found = {}
    for flavor in (f for group in groups for f in group.get("flavors", [])):
        quota = _gpus(flavor)
        if quota:
            used = usage.get(flavor["name"], {})
            found[flavor["name"]] = _Share(
                nominal=whole(quota.get("nominalQuota", 0)),
                borrow=_limit(quota.get("borrowingLimit")),
                lend=_limit(quota.get("lendingLimit")),
                used=whole(used.get("total", 0)),
                borrowed=whole(used.get("borrowed", 0)),
            )
    return found


def _gpus(flavor: Json) -> Json:
    return next((r for r in flavor.get("resources", []) if r.get("name") == GPU), {})


def _limit(value: object) -> int | None:
    return None if value is None else whole(value)


def quotas_of(kueue: Json | None, service: str, product: str) -> list[Quota]:
    """What the queue of a service leaves of this product, all its flavors together."""
    if not kueue or not kueue["readable"]:
        return []
    name = kueue["of"].get(service, DEFAULT)
    rows = [q for q in kueue["queues"] if q["name"] == name]
    rows = [q for q in rows if not product or q["product"] in ("", product)]
    if not rows:
        return []
    limit, free = (sum(q[key] for q in rows) for key in ("limit", "free"))
    held = ", which is held" if rows[0]["held"] else ""
    told = f"of the queue {name} ({rows[0]['cluster_queue']}{held})"
    return [Quota(told, limit, limit - free)]


def waits_in(pod: Json) -> str:
    """The queue whose turn a pod waits for; empty: it waits for none."""
    gates = {g.get("name") for g in pod["spec"].get("schedulingGates") or []}
    if GATE not in gates:
        return ""
    return str((pod["metadata"].get("labels") or {}).get(QUEUE, DEFAULT))


def turn_in(queue: str) -> str:
    return f"waits for its turn in the queue {queue} of Kueue"
