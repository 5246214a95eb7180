"""What befalls a walk from outside: people's wishes; faults of clusters, nodes and engines."""

from dataclasses import replace

from fleet.clients.errors import Permanent, Temporary
from fleet.rules.phases import Wish

WISHES = {"abort": Wish.ABORT, "pause": Wish.PAUSE, "resume": Wish.RUN}


def happen(walk, event):
    if event in WISHES and walk.state.wish is not Wish.ABORT:
        walk.state = replace(walk.state, wish=WISHES[event], wish_at=walk.now)
    elif event in HAPPENINGS:
        HAPPENINGS[event](walk)


def heal_engines(walk):
    walk.cluster.behave(walk.names["new"], "good")
    for pod in walk.cluster.pods.values():
        pod["status"].pop("containerStatuses", None)


def lose_pod(walk):
    for uid in list(walk.cluster.pods)[:1]:
        del walk.cluster.pods[uid]


def lose_gpu(walk):
    """With the pod on it."""
    if isinstance(walk.cluster.gpus, int) and walk.cluster.gpus > 1:
        walk.cluster.gpus -= 1
        walk.gone += 1
        lose_pod(walk)


def lose_nodes(walk):
    """Their kubelets say nothing: pods are there and not ready."""
    walk.cluster.dark = True
    walk.cluster.tick(0)


def find_again(walk):
    walk.cluster.dark, walk.cluster.forbids, walk.cluster.owned_by = False, "", ""
    walk.cluster.denies = False
    walk.cluster.loses, walk.cluster.drain_ticks, walk.cluster.admits_none = 0, 2, None
    count_again(walk)
    if isinstance(walk.cluster.gpus, int):
        walk.cluster.gpus, walk.gone = walk.cluster.gpus + walk.gone, 0


def skip_gate(walk):
    """Of the present step, in whatever phase it is: the row may hold it from an earlier one."""
    walk.state = replace(walk.state, skip_step=walk.state.step, skip_by="olga")


def miss_passes(walk):
    """No worker for ten minutes and more."""
    for _ in range(70):
        walk.cluster.tick(10)


def count_again(walk):
    walk.counted, walk.late = True, ""


def cluster_with(**fields):
    return lambda walk: [setattr(walk.cluster, k, v) for k, v in fields.items()]


def become(behaviour):
    return lambda walk: walk.cluster.behave(walk.names["new"], behaviour)


HAPPENINGS = {
    "crash": become("crash"),
    "breaks_contract": become("breaks_contract"),
    "mute": become("mute"),
    "heal": heal_engines,
    "errors": lambda walk: (setattr(walk, "errors", 0.2), setattr(walk, "per_second", 20)),
    "quiet": lambda walk: setattr(walk, "per_second", 0),
    "cluster_down": lambda walk: setattr(walk.cluster, "down", True),
    "cluster_up": lambda walk: setattr(walk.cluster, "down", False),
    "pod_lost": lose_pod,
    "gateway_lags": lambda walk: setattr(walk, "lags", True),
    "gateway_follows": lambda walk: setattr(walk, "lags", False),
    "new_deleted": lambda walk: walk.delete("new"),
    "old_deleted": lambda walk: walk.delete("old"),
    "twice": lambda walk: walk.step(seconds=0),  # a message delivered twice
    "quota": become("quota"),
    "write_refused": cluster_with(forbids="forbidden: may not patch deployments"),
    "account_denied": cluster_with(forbids="cannot patch deployments", denies=True),
    "answer_lost": cluster_with(loses=1),
    "claim_lost": lambda walk: setattr(walk, "drops", True),
    "field_taken": cluster_with(owned_by="keda"),
    "slow_end": cluster_with(drain_ticks=12),
    "gpu_lost": lose_gpu,
    "nodes_lost": lose_nodes,
    "found_again": find_again,
    "skip_gate": skip_gate,
    "status_busy": cluster_with(admits_none=Temporary("Too many requests", status=429)),
    "status_broken": cluster_with(admits_none=Temporary("etcdserver: timed out", status=500)),
    "status_forbidden": cluster_with(
        admits_none=Permanent("may not patch pods/status", status=403)
    ),
    "uncounted": lambda walk: setattr(walk, "counted", False),
    "counted_late": lambda walk: setattr(walk, "late", "Usage is 300 s behind"),
    "counted_again": count_again,
    "workers_away": miss_passes,
}
