"""The least that the console needs in a cluster: as questions to ask and as YAML to apply."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from fleet.rules.kueue import GROUP as KUEUE
from fleet.rules.members import PLURAL, SETS

READ = ("get", "list", "watch")
CHANGE = (*READ, "create", "patch", "delete")
ACCOUNT = "quartermaster"
HOME = "quartermaster-system"  # namespace of the console's own account


@dataclass(frozen=True, slots=True)
class Grant:
    """Verbs on one resource. `namespaced`: in the namespace of the engines only."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    purpose: str
    namespaced: bool = True
    needed: bool = True  # without it the purpose is lost, nothing else
    kueue: bool = False  # asked about only where the cluster has Kueue
    sets: bool = False  # ... where it has LeaderWorkerSet


GRANTS = (
    Grant("apps", "deployments", CHANGE, "run releases"),
    Grant("apps", "replicasets", READ, "see why pods are not made"),
    Grant(
        "apps", "statefulsets", CHANGE, "run engines over several nodes",
        needed=False,
    ),
    Grant(
        "", "services", ("list", "create", "patch"),
        "let the pods of such an engine find each other, see what others changed of that",
        needed=False,
    ),
    Grant(
        SETS, PLURAL, CHANGE, "run engines over several nodes as a LeaderWorkerSet",
        needed=False, sets=True,
    ),
    Grant("", "pods", (*READ, "delete"), "see engines, remove a replica of an old release"),
    Grant(
        "", "pods/log", ("get",), "keep the end of the log of a container that fails",
        needed=False,
    ),
    Grant(
        "", "pods", ("create",), "bring a release's image to nodes before it starts", needed=False,
    ),
    Grant(
        "", "persistentvolumeclaims", ("get",),
        "check that the cache for weights is there, where it is a claim", needed=False,
    ),
    Grant("", "pods/status", ("patch",), "admit a verified replica (readiness gate)"),
    Grant("", "configmaps", ("create", "patch"), "give engines the files of their release"),
    Grant(
        "", "configmaps", ("list",), "see what others changed of the files of releases",
        needed=False,
    ),
    Grant(
        "policy",
        "poddisruptionbudgets",
        CHANGE,
        "keep replicas during node maintenance, show the floor in plans",
    ),
    Grant("networking.k8s.io", "networkpolicies", CHANGE, "keep KV blocks within a release"),
    Grant("", "events", READ, "say why a pod does not run"),
    Grant("", "resourcequotas", READ, "say which quota refuses pods, in plans and afterwards"),
    Grant("", "nodes", READ, "count GPUs, see lost nodes", namespaced=False),
    Grant(
        "scheduling.k8s.io",
        "priorityclasses",
        READ,
        "check that canaries never displace production",
        namespaced=False,
    ),
    Grant(
        "resource.k8s.io",
        "resourceslices",
        READ,
        "count devices given out by DRA",
        namespaced=False,
        needed=False,
    ),
    Grant(
        "",
        "pods",
        ("list",),
        "count GPUs that pods of other namespaces hold",
        namespaced=False,
        needed=False,
    ),
    Grant(
        KUEUE, "localqueues", ("list",), "count the quota of Kueue in plans",
        needed=False, kueue=True,
    ),
    Grant(
        KUEUE, "clusterqueues", ("list",), "count the quota of Kueue in plans",
        namespaced=False, needed=False, kueue=True,
    ),
    Grant(
        KUEUE, "resourceflavors", ("list",), "tell which GPUs a quota of Kueue is about",
        namespaced=False, needed=False, kueue=True,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """One permission to ask the cluster about. An empty namespace: everywhere."""

    verb: str
    group: str
    resource: str
    namespace: str
    purpose: str
    needed: bool


def questions(namespace: str, *, kueue: bool = False, sets: bool = False) -> tuple[Question, ...]:
    return tuple(
        Question(
            verb=verb,
            group=grant.group,
            resource=grant.resource,
            namespace=namespace if grant.namespaced else "",
            purpose=grant.purpose,
            needed=grant.needed,
        )
        for grant in GRANTS
        if (kueue or not grant.kueue) and (sets or not grant.sets)
        for verb in grant.verbs
    )


def may_fetch(permissions: Iterable[Mapping[str, Any]], namespace: str) -> bool:
    """Whether the account was seen to be allowed what bringing images to nodes takes."""
    wanted = ("create", "pods", namespace)
    return any(
        (p["verb"], p["resource"], p["namespace"]) == wanted and p["allowed"] for p in permissions
    )


@lru_cache(maxsize=64)
def manifest(namespace: str) -> str:
    """YAML with the account, its roles and their bindings, for `kubectl apply -f -`."""
    inside = tuple(g for g in GRANTS if g.namespaced)
    outside = tuple(g for g in GRANTS if not g.namespaced)
    documents = [
        _object("v1", "Namespace", namespace),
        _object("v1", "Namespace", HOME),
        _object("v1", "ServiceAccount", ACCOUNT, HOME),
        _role("Role", inside, namespace),
        _binding("RoleBinding", "Role", namespace),
        _role("ClusterRole", outside),
        _binding("ClusterRoleBinding", "ClusterRole"),
    ]
    return "---\n".join(yaml.safe_dump(d, sort_keys=False) for d in documents)


def token_command(hours: int = 720) -> str:
    """How an administrator of the cluster makes the account's token, which ends by itself."""
    return f"kubectl -n {HOME} create token {ACCOUNT} --duration {hours}h"


def _object(version: str, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place}}


def _role(kind: str, grants: tuple[Grant, ...], namespace: str = "") -> dict[str, Any]:
    rules = [
        {"apiGroups": [g.group], "resources": [g.resource], "verbs": list(g.verbs)} for g in grants
    ]
    head = _object("rbac.authorization.k8s.io/v1", kind, ACCOUNT, namespace)
    return head | {"rules": rules}


def _binding(kind: str, role: str, namespace: str = "") -> dict[str, Any]:
    return _object("rbac.authorization.k8s.io/v1", kind, ACCOUNT, namespace) | {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": HOME}],
    }
