"""The status of a pod as a kubelet writes it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.cluster.container import Container

Json = dict[str, Any]


def rfc3339(seconds: float) -> str:
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def container_status(c: Container) -> Json:
    status: Json = {
        "name": c.name,
        "image": c.spec["image"],
        "imageID": c.image_id,
        "ready": c.ready,
        "started": c.started,
        "restartCount": c.restarts,
        "state": c.state,
        "lastState": c.last_state,
    }
    if c.container_id:
        status["containerID"] = c.container_id
    return status


def phase(containers: list[Container], policy: str) -> str:
    if any(not c.container_id for c in containers):
        return "Pending"  # a container has never run
    if any("terminated" not in c.state for c in containers) or policy == "Always":
        return "Running"
    codes = [c.state["terminated"]["exitCode"] for c in containers]
    if any(code != 0 for code in codes):
        finished = policy == "Never" or all(c.done for c in containers)
        return "Failed" if finished else "Running"
    return "Succeeded"


def final_phase(containers: list[Container]) -> str:
    """Of a pod that is being deleted, when all its processes are gone."""
    ended = [c.state.get("terminated") for c in containers]
    return "Succeeded" if all(e and e["exitCode"] == 0 for e in ended) else "Failed"


def conditions(pod: Json, containers: list[Container], at_phase: str, now: float) -> list[Json]:
    """The conditions that the kubelet owns; readiness gates are read, not written."""
    old = {c["type"]: c for c in pod.get("status", {}).get("conditions") or []}
    unready = [c.name for c in containers if not c.ready]
    gates = [g["conditionType"] for g in pod["spec"].get("readinessGates") or []]
    closed = [g for g in gates if old.get(g, {}).get("status") != "True"]
    reason = message = ""
    if at_phase in ("Succeeded", "Failed"):
        reason = "PodCompleted" if at_phase == "Succeeded" else "PodFailed"
    elif unready:
        reason, message = (
            "ContainersNotReady",
            f"containers with unready status: [{' '.join(unready)}]",
        )
    all_ready = not reason
    gate_text = "; ".join(
        f'corresponding condition of pod readiness gate "{g}" '
        + ("does not exist." if g not in old else f"is {old[g]['status']}.")
        for g in closed
    )
    ready_reason = reason or ("ReadinessGatesNotReady" if closed else "")
    running = at_phase not in ("Succeeded", "Failed")
    return [
        _condition(old, "PodReadyToStartContainers", running, "", "", now),
        _condition(
            old, "Initialized", True, "PodCompleted" if at_phase == "Succeeded" else "", "", now
        ),
        _condition(old, "Ready", all_ready and not closed, ready_reason, message or gate_text, now),
        _condition(old, "ContainersReady", all_ready, reason, message, now),
        _condition(old, "PodScheduled", True, "", "", now),
    ]


def _condition(
    old: dict[str, Json], kind: str, ok: bool, reason: str, message: str, now: float
) -> Json:
    before = old.get(kind)
    status = "True" if ok else "False"
    since = before["lastTransitionTime"] if before and before["status"] == status else rfc3339(now)
    made: Json = {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": since,
    }
    # The merge patch must also remove what no longer holds.
    made["reason"] = reason or None
    made["message"] = message or None
    return made


def pod_status(
    pod: Json,
    containers: list[Container],
    at_phase: str,
    ip: str,
    host_ip: str,
    started: float,
    now: float,
) -> Json:
    generation = pod["metadata"].get("generation")
    made = conditions(pod, containers, at_phase, now)
    status: Json = {
        "phase": at_phase,
        "conditions": made,
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "startTime": pod.get("status", {}).get("startTime") or rfc3339(started),
        "containerStatuses": [container_status(c) for c in containers],
    }
    if generation is not None:
        status["observedGeneration"] = generation
        for condition in made:
            condition["observedGeneration"] = generation
    return status


def differs(want: object, have: object) -> bool:
    """Is anything of want missing in have?  (The server adds fields and drops nulls.)"""
    if isinstance(want, dict):
        if not isinstance(have, dict):
            return bool(want)
        return any(differs(v, have.get(k)) for k, v in want.items())
    if isinstance(want, list):
        if not isinstance(have, list):
            return bool(want)
        return _lists_differ(want, have)
    return bool(want != have and not (want in (None, "") and have in (None, "")))


def _lists_differ(want: list[Any], have: list[Any]) -> bool:
    if want and isinstance(want[0], dict) and "type" in want[0]:  # conditions merge by type
        by_type = {h.get("type"): h for h in have}
        return any(differs(w, by_type.get(w["type"])) for w in want)
    return len(want) != len(have) or any(differs(w, h) for w, h in zip(want, have, strict=True))
