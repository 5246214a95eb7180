"""One look at one cluster: claim, list everything, write it down.

Level-triggered: each pass lists the whole and replaces what was known, so that a lost event can
only cost the seconds until the next pass. When a list fails, nothing known is dropped.
"""

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import structlog
from django.db.models import Q

from fleet.actions.clusters import check
from fleet.actions.drift import Around
from fleet.actions.observation import Seen, store, store_glance, store_trouble
from fleet.clients.errors import ClientError, Permanent
from fleet.clients.kube import Access, Json, connect
from fleet.models import Cluster, Deployment
from fleet.queries.clusters import access_of
from fleet.rules.around import BUDGET, RESOURCES
from fleet.rules.kueue import GROUP as KUEUE
from fleet.rules.kueue import SeenKueue, read_kueue
from fleet.rules.manifests import SERVICE
from fleet.rules.members import LEADER_WORKER_SET, SETS
from fleet.rules.objects import Event, Node, Pod
from fleet.rules.observation import (
    SeenPod,
    read_budgets,
    read_events,
    read_nodes,
    read_pods,
    read_quotas,
    with_disks,
)
from fleet.rules.rbac import Question
from tenants.base.rows import database_now

log = structlog.get_logger(__name__)
HOLD = timedelta(seconds=20)  # longer than one answer may take; renewed before each question
RENEWED = 5.0  # seconds: quick passes renew nothing
ASK_AGAIN = timedelta(minutes=10)  # about permissions and the version


class Observed(Protocol):
    """What a pass asks of a cluster. The fake of the tests has the same methods."""

    between: Callable[[], object]  # called between pages of a list

    def server_version(self) -> str: ...
    def list_nodes(self) -> list[Node]: ...
    def list_pods(self, namespace: str, selector: str = "") -> list[Pod]: ...
    def list_deployments(
        self, namespace: str, selector: str = "", kind: str = "Deployment", version: str = "v1"
    ) -> list[Json]: ...
    def list_events(self, namespace: str, field_selector: str = "") -> list[Event]: ...
    def list_quotas(self, namespace: str) -> list[Json]: ...
    def list_budgets(self, namespace: str) -> list[Json]: ...
    def list_around(self, namespace: str, kind: str, selector: str = "") -> list[Json]: ...
    def extensions(self) -> dict[str, str]: ...
    def list_kueue(self, version: str, namespace: str) -> dict[str, list[Json]]: ...
    def may(self, question: Question) -> tuple[bool, str]: ...
    def close(self) -> None: ...


Connector = Callable[[Access], Observed]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Said:
    """What seldom changes. `kueue`: the version of its API; empty: the cluster has none."""

    at: datetime
    version: str
    permissions: tuple[dict[str, Any], ...]
    kueue: str
    sets: str  # the same of LeaderWorkerSet, where the account may use it


class Observer:
    """Looks at clusters; keeps one connection for each, and what seldom changes."""

    def __init__(self, connector: Connector = connect) -> None:
        self.connector = connector
        self.connections: dict[int, tuple[bytes, Observed]] = {}
        self.asked: dict[int, Said] = {}

    def due(self, now: datetime) -> list[int]:
        """Clusters to look at, those that wait longest first."""
        waiting = Q(look_again=None) | Q(look_again__lte=now)
        rows = Cluster.objects.filter(waiting, removed_at=None).order_by("look_again")
        return list(rows.values_list("id", flat=True))

    def observe(
        self, cluster_id: int, now: datetime, rung: Callable[[], Collection[str]] = tuple
    ) -> bool:
        """Make one pass. False: somebody else has the cluster, or the look failed.

        `rung`: services of which pods changed since it was asked last. Gateways wait for them, and
        a look at a large cluster takes long: they are looked at between its questions.
        """
        claim = Cluster.take_claim(cluster_id, hold=HOLD)
        if claim is None:
            return False
        cluster = Cluster.objects.get(pk=cluster_id)
        held = Held(cluster_id, claim, lambda: self._between(cluster, claim, rung()))
        try:
            seen = self._look(cluster, held, now)
        except ClientError as error:
            self._forget(cluster_id)
            store_trouble(cluster_id, claim, error.message, now)
            log.warning("cluster not observed", cluster=cluster_id, why=error.message)
            return False
        return self._store(cluster_id, claim, seen, now)

    def glance(self, cluster_id: int, services: Collection[str], now: datetime) -> bool:
        """Look at the pods of these services only. False: somebody looks at the whole now."""
        claim = Cluster.take_claim(cluster_id, hold=HOLD)
        if claim is None:
            return False
        try:
            pods = self._pods_of(Cluster.objects.get(pk=cluster_id), services, now)
            return store_glance(cluster_id, claim, pods, services, now)
        except ClientError as error:
            log.info("no glance, the next look sees it", cluster=cluster_id, why=error.message)
            return Cluster.record(cluster_id, claim)

    def _between(self, cluster: Cluster, claim: uuid.UUID, services: Collection[str]) -> None:
        """A glance within a look, which goes on. Of what it could not see, that look tells."""
        if not services:
            return
        now = database_now()
        with suppress(ClientError):
            pods = self._pods_of(cluster, services, now)
            store_glance(cluster.pk, claim, pods, services, now, goes_on=True)

    def _pods_of(
        self, cluster: Cluster, services: Collection[str], now: datetime
    ) -> tuple[SeenPod, ...]:
        chosen = f"{SERVICE} in ({','.join(sorted(services))})"
        return read_pods(self._connection(cluster).list_pods(cluster.namespace, chosen), now)

    def _store(self, cluster_id: int, claim: uuid.UUID, seen: Seen, now: datetime) -> bool:
        if stored := store(cluster_id, claim, seen, now):
            return stored
        log.info("claim lost, the look is dropped", cluster=cluster_id)
        return False

    def _look(self, cluster: Cluster, held: "Held", now: datetime) -> Seen:
        kube = self._connection(cluster)
        kube.between = held.renew
        fresh = self._ask(cluster, kube, now)
        said, space = self.asked[cluster.pk], cluster.namespace
        permissions = said.permissions

        def may(resource: str) -> bool:
            return may_list(permissions, resource)

        found = held.ask(kube.list_nodes)
        quotas = held.ask(kube.list_quotas, space) if may("resourcequotas") else None
        budgets = held.ask(kube.list_budgets, space) if may("poddisruptionbudgets") else None
        events = read_events(held.ask(kube.list_events, space), now)
        deployments = tuple(self._workloads(kube, said, held, space))
        around = self._around(cluster, kube, held, budgets)
        # Last, as gateways wait for them: what changes until here waits for no other look.
        pods = held.ask(kube.list_pods, "" if sees_everything(permissions) else space)
        nodes = read_nodes(found, pods)
        ours = read_pods((p for p in pods if p["metadata"]["namespace"] == space), now)
        return Seen(
            version=said.version,
            settings=cluster.version,
            nodes=nodes,
            pods=with_disks(ours, nodes),
            events=events,
            permissions=permissions if fresh else None,
            quotas=None if quotas is None else read_quotas(quotas),
            budgets=None if budgets is None else read_budgets(budgets),
            kueue=self._queues(kube, said, space, ours) if said.kueue else None,
            group_sets=said.sets,
            deployments=deployments,
            around=around,
        )

    def _around(
        self, cluster: Cluster, kube: Observed, held: "Held", budgets: list[Json] | None
    ) -> Around:
        """What the account may list; and nothing is listed that no release declares."""
        permissions = self.asked[cluster.pk].permissions
        watched = [kind for kind, name in RESOURCES.items() if may_list(permissions, name)]
        found = [item | {"kind": BUDGET} for item in budgets or ()]
        if Deployment.objects.filter(cluster=cluster, manifest__kind="List").exists():
            for kind in watched:
                if kind != BUDGET:
                    found += held.ask(kube.list_around, cluster.namespace, kind, SERVICE)
        return Around(found, watched)

    def _workloads(self, kube: Observed, said: Said, held: "Held", space: str) -> Iterator[Json]:
        yield from held.ask(kube.list_deployments, space, SERVICE)
        if may_list(said.permissions, "statefulsets"):
            yield from held.ask(kube.list_deployments, space, SERVICE, "StatefulSet")
        if said.sets:
            yield from held.ask(kube.list_deployments, space, SERVICE, LEADER_WORKER_SET, said.sets)

    def _queues(self, kube: Observed, said: Said, space: str, pods: Iterable[SeenPod]) -> SeenKueue:
        asked = [p for p in said.permissions if p["group"] == KUEUE]
        if not all(p["allowed"] for p in asked):
            return SeenKueue(readable=False)
        of = {p.service: p.queue for p in pods if p.queue}
        return read_kueue(kube.list_kueue(said.kueue, space), of)

    def _ask(self, cluster: Cluster, kube: Observed, now: datetime) -> bool:
        """Ask for version and permissions now and then. True: just asked."""
        known = self.asked.get(cluster.pk)
        if known and now - known.at < ASK_AGAIN:
            return False
        had = kube.extensions()
        permissions = check(kube, cluster.namespace, had=had)
        sets = had.get(SETS, "") if may_change_sets(permissions) else ""
        said = Said(now, kube.server_version(), permissions, had.get(KUEUE, ""), sets)
        self.asked[cluster.pk] = said
        return True

    def _connection(self, cluster: Cluster) -> Observed:
        """A new one when the credential was changed."""
        credential = bytes(cluster.credential)
        known = self.connections.get(cluster.pk)
        if known and known[0] == credential:
            return known[1]
        self._forget(cluster.pk)
        if not credential and not cluster.in_cluster:
            raise Permanent("No credential is kept for this cluster: register it again")
        made = self.connector(access_of(cluster))
        self.connections[cluster.pk] = (credential, made)
        return made

    def _forget(self, cluster_id: int) -> None:
        self.asked.pop(cluster_id, None)
        if known := self.connections.pop(cluster_id, None):
            known[1].close()


class Held:
    """The claim of a pass, held as long as the cluster answers in time.

    Short, so that somebody else goes on soon where this process was killed. `before` each question
    what is more urgent has its turn.
    """

    def __init__(self, cluster_id: int, claim: uuid.UUID, before: Callable[[], None]) -> None:
        self.cluster_id, self.claim, self.before = cluster_id, claim, before
        self.renewed_at = time.monotonic()

    def ask(self, question: Callable[..., list[Item]], *about: str) -> list[Item]:
        self.renew()
        self.before()
        return question(*about)

    def renew(self) -> None:
        """Each page of a long list is an answer, too."""
        if time.monotonic() - self.renewed_at > RENEWED:
            Cluster.keep_claim(self.cluster_id, self.claim, hold=HOLD)
            self.renewed_at = time.monotonic()


def sees_everything(permissions: Iterable[dict[str, Any]]) -> bool:
    """May it list the pods of all namespaces, to count the GPUs that others hold?"""
    return any(p["allowed"] and p["resource"] == "pods" and not p["namespace"] for p in permissions)


def may_change_sets(permissions: Iterable[dict[str, Any]]) -> bool:
    """Where anything is forbidden of them, engines over several nodes are made without them."""
    asked = [p["allowed"] for p in permissions if p["group"] == SETS]
    return bool(asked) and all(asked)


def may_list(permissions: Iterable[dict[str, Any]], resource: str) -> bool:
    """May it list them in the namespace of the engines?"""
    named = [p for p in permissions if p["resource"] == resource and p["namespace"]]
    return any(p["allowed"] for p in named if p["verb"] == "list")
