"""Why pods that are wanted cannot be made: quota, admission. Pure.

A ReplicaSet says it in a condition. A StatefulSet has none, and says it in events only.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from fleet.rules.members import LEADER_WORKER_SET
from fleet.rules.quantity import moment

Json = Mapping[str, Any]
FAILED = "FailedCreate"
ABOUT = f"reason={FAILED}"  # which events to ask for
NUMBERED = frozenset({"StatefulSet", LEADER_WORKER_SET})


def refusal_of(replica_set: Json) -> str:
    """The message of a ReplicaSet that wants pods and cannot make them."""
    if not replica_set["spec"].get("replicas"):
        return ""
    for condition in replica_set.get("status", {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return str(condition.get("message", ""))
    return ""


def refusal_in(item: Json, pods: Iterable[Json], events: Iterable[Json]) -> str:
    """How many pods of a StatefulSet, or of a LeaderWorkerSet, are missing, and the newest event
    that says why. An event from before the set, or from before its newest pod, says nothing.
    """
    name, inside = item["metadata"]["name"], item["spec"].get("leaderWorkerTemplate") or {}
    wanted = item["spec"].get("replicas", 0) * inside.get("size", 1)
    own = [p for p in pods if re.fullmatch(rf"{re.escape(name)}(-\d+)+", p["metadata"]["name"])]
    if len(own) >= wanted:
        return ""
    stamps = (moment(one["metadata"].get("creationTimestamp")) for one in (item, *own))
    since = max((at for at in stamps if at), default=None)
    told = [(at, e) for e in events if (at := _said(e, name)) and (since is None or at >= since)]
    if not told:
        return ""
    _, last = max(told, key=lambda pair: pair[0])
    missing = wanted - len(own)
    verb = "is" if missing == 1 else "are"
    text = str(last.get("message", "")).rpartition(" failed error: ")[2]
    return f"{missing} of {wanted} pods of {name} {verb} missing: {text}"


def _said(event: Json, name: str) -> datetime | None:
    """When it was said last; None: it is about something else. The sets that the controller of
    LeaderWorkerSet makes have its name, or that of one of its leaders.
    """
    about = event.get("involvedObject", {})
    if about.get("kind") not in NUMBERED or event.get("reason") != FAILED:
        return None
    if not re.fullmatch(rf"{re.escape(name)}(-\d+)?", about.get("name", "")):
        return None
    last = (event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp")
    return moment(last or event.get("eventTime"))
