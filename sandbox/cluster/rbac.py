"""Who may do what in the sandbox: the node agent and the console's ServiceAccount."""

from sandbox.cluster.kube import Json, Kube

RBAC = "/apis/rbac.authorization.k8s.io/v1"
READ = ["get", "list", "watch"]
CHANGE = [*READ, "create", "patch", "delete"]


def rule(groups: list[str], resources: list[str], verbs: list[str]) -> Json:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


# The agent is one user for all nodes (a real cluster has one per node, held apart
# by the Node authorizer and NodeRestriction).
NODE_AGENT_RULES = [
    rule([""], ["nodes"], ["get", "list", "watch", "create", "patch", "delete"]),
    rule([""], ["nodes/status"], ["patch"]),
    rule([""], ["pods"], ["get", "list", "watch", "delete"]),
    rule([""], ["pods/status"], ["patch"]),
    rule([""], ["events"], ["create", "patch"]),
    rule(["coordination.k8s.io"], ["leases"], ["get", "create", "patch", "update"]),
]
# What the console needs in a namespace that it manages...
CONSOLE_NAMESPACE_RULES = [
    rule(["apps"], ["deployments", "statefulsets"], CHANGE),
    rule(["leaderworkerset.x-k8s.io"], ["leaderworkersets"], CHANGE),
    rule([""], ["services"], ["list", "create", "patch"]),
    rule(["apps"], ["replicasets"], READ),
    rule([""], ["pods"], [*READ, "create", "delete"]),
    rule([""], ["pods/log"], ["get"]),
    rule([""], ["pods/status"], ["patch"]),  # readiness gates
    rule([""], ["persistentvolumeclaims"], ["get"]),
    rule([""], ["configmaps"], ["list", "create", "patch"]),
    rule(["policy"], ["poddisruptionbudgets"], CHANGE),
    rule(["networking.k8s.io"], ["networkpolicies"], CHANGE),
    rule(["", "events.k8s.io"], ["events"], READ),
    rule([""], ["resourcequotas"], READ),
]
# ...and in the cluster: read the inventory, nothing else.
CONSOLE_CLUSTER_RULES = [
    rule([""], ["pods"], ["list"]),  # whose are the GPUs that are taken
    rule([""], ["nodes", "namespaces"], READ),
    rule(["scheduling.k8s.io"], ["priorityclasses"], READ),
    rule(["resource.k8s.io"], ["resourceslices", "deviceclasses"], READ),
    rule(["kueue.x-k8s.io"], ["localqueues", "clusterqueues", "resourceflavors"], ["list"]),
]
# name -> (value, preemptionPolicy, description); a canary must never evict production.
PRIORITY_CLASSES = {
    "serving-stable": (100_000, "PreemptLowerPriority", "Releases that serve tenants"),
    "serving-canary": (50_000, "Never", "Releases that are being tried"),
    "serving-batch": (10_000, "Never", "Work that may wait"),
}


def _apply(kube: Kube, path: str, body: Json) -> None:
    kube.apply(f"{path}/{body['metadata']['name']}", body)


def _role(kind: str, name: str, rules: list[Json]) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "rules": rules,
    }


def _binding(kind: str, name: str, role_kind: str, subject: Json) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": name},
        "subjects": [subject],
    }


def ensure_namespace(kube: Kube, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    _apply(kube, "/api/v1/namespaces", body)


def setup_priorities(kube: Kube) -> None:
    for name, (value, preemption, description) in PRIORITY_CLASSES.items():
        body = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "preemptionPolicy": preemption,
            "description": description,
        }
        _apply(kube, "/apis/scheduling.k8s.io/v1/priorityclasses", body)


def setup_node_agent(kube: Kube) -> None:
    name = "sandbox-node-agent"
    user = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "User",
        "name": "sandbox:node-agent",
    }
    _apply(kube, f"{RBAC}/clusterroles", _role("ClusterRole", name, NODE_AGENT_RULES))
    binding = _binding("ClusterRoleBinding", name, "ClusterRole", user)
    _apply(kube, f"{RBAC}/clusterrolebindings", binding)


def setup_console(kube: Kube, system: str, managed: list[str]) -> None:
    """ServiceAccount system/console with rights in the managed namespaces."""
    ensure_namespace(kube, system)
    name = "quartermaster-console"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "console"}}
    _apply(kube, f"/api/v1/namespaces/{system}/serviceaccounts", account)
    subject = {"kind": "ServiceAccount", "name": "console", "namespace": system}
    _apply(kube, f"{RBAC}/clusterroles", _role("ClusterRole", name, CONSOLE_CLUSTER_RULES))
    binding = _binding("ClusterRoleBinding", name, "ClusterRole", subject)
    _apply(kube, f"{RBAC}/clusterrolebindings", binding)
    for namespace in managed:
        ensure_namespace(kube, namespace)
        base = f"{RBAC}/namespaces/{namespace}"
        _apply(kube, f"{base}/roles", _role("Role", name, CONSOLE_NAMESPACE_RULES))
        _apply(kube, f"{base}/rolebindings", _binding("RoleBinding", name, "Role", subject))


def console_token(kube: Kube, system: str, seconds: int) -> str:
    """A bound ServiceAccount token from the TokenRequest API."""
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds},
    }
    answer = kube.post(f"/api/v1/namespaces/{system}/serviceaccounts/console/token", body)
    return str(answer["status"]["token"])
