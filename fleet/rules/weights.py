"""Weights of a hub in a cache that an operator declares for a cluster. Pure.

The cache is a directory of each node ("/srv/weights") or a PersistentVolumeClaim, by its name. New
releases of a hub's model pin it: their engines mount it to read, and start offline from it. What
brings weights into it mounts it to write, before anything moves.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from fleet.rules.release import ModelPin, ReleaseSpec
from fleet.rules.weights_script import SCRIPT

VOLUME = "weights"
PLACE = "/weights"  # in a container
CLAIM = "claim "  # before its name where nodes are listed
PATH = re.compile(r"(/[A-Za-z0-9][A-Za-z0-9._-]*)+")
OBJECT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LONGEST_PATH, LONGEST_NAME = 200, 253
# Directories of a node's own, which no pod may fill or shadow.
OWN = (
    "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin",
    "/sys", "/tmp", "/usr", "/var/lib/containerd", "/var/lib/containers", "/var/lib/docker",
    "/var/lib/etcd", "/var/lib/kubelet", "/var/log", "/var/run",
)  # fmt: skip
TOKEN_KEY = "token"  # noqa: S105 - of the Secret's data
ENDS = re.compile(r"^(disk|hub|commit|access|failed): (.+)$", re.MULTILINE)


class Trouble(StrEnum):
    """What ended a pod that brings weights, by the first word of its last line."""

    DISK = "disk"
    HUB = "hub"  # it cannot be reached, or answers with a fault of its own
    COMMIT = "commit"  # the repository has none such
    ACCESS = "access"  # 401, 403, or no such repository: hubs do not tell these apart
    FAILED = "failed"


FINAL = frozenset({Trouble.COMMIT, Trouble.ACCESS})  # no patience helps


def read_cache(text: str) -> str:
    """A cache as it is kept: empty (none), a directory or the name of a claim; or ValueError."""
    given = text.strip()
    if not given:
        return ""
    if not given.startswith("/"):
        return read_name(given, "a PersistentVolumeClaim")
    path = given.rstrip("/")
    if not PATH.fullmatch(path) or len(path) > LONGEST_PATH:
        raise ValueError(
            f"{given!r} is not a directory of nodes: parts of letters, digits and . _ - that begin"
            f" with a letter or digit, at most {LONGEST_PATH} characters"
        )
    for own in OWN:
        if f"{path}/".startswith(f"{own}/") or own.startswith(f"{path}/"):
            raise ValueError(f"{path} holds or lies in {own}, which is a node's own")
    return path


def read_name(text: str, what: str) -> str:
    """Of an object of the cluster; empty: none."""
    name = text.strip()
    if name and (not OBJECT.fullmatch(name) or len(name) > LONGEST_NAME):
        raise ValueError(f"{name!r} is not the name of {what}: small letters, digits, - and .")
    return name


def is_claim(cache: str) -> bool:
    return bool(cache) and not cache.startswith("/")


def is_of_hub(model: ModelPin) -> bool:
    return not (model.is_path or model.is_artifact)


def cache_for(model: ModelPin, declared: str) -> str:
    """What a release made now pins."""
    return declared if is_of_hub(model) else ""


def in_words(cache: str) -> str:
    if is_claim(cache):
        return f"the claim {cache}, which all nodes share"
    return f"{cache} of each node"


def volume(cache: str, *, read_only: bool = True) -> dict[str, Any]:
    if is_claim(cache):
        return {
            "name": VOLUME,
            "persistentVolumeClaim": {"claimName": cache, "readOnly": read_only},
        }
    return {"name": VOLUME, "hostPath": {"path": cache, "type": "DirectoryOrCreate"}}


def commits_of(model: ModelPin) -> list[str]:
    """That of the weights first."""
    return list(
        dict.fromkeys(filter(None, (model.commit, model.tokenizer_commit, model.code_commit)))
    )


def container(spec: ReleaseSpec, *, hub: str = "", secret: str = "") -> dict[str, Any]:
    """What a pod that only brings an image has to have besides, to bring weights into the cache.

    `hub`: its address; empty: the one that huggingface_hub knows. `secret`: holds its token.
    """
    env: list[dict[str, Any]] = [
        {"name": "HF_HUB_CACHE", "value": PLACE},
        {"name": "HF_HOME", "value": "/tmp/hub"},  # noqa: S108 - of the container
        {"name": "HF_HUB_DISABLE_TELEMETRY", "value": "1"},
        {"name": "HF_HUB_DISABLE_PROGRESS_BARS", "value": "1"},
    ]
    if hub:
        env.append({"name": "HF_ENDPOINT", "value": hub})
    if secret:
        key = {"name": secret, "key": TOKEN_KEY}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": key}})
    return {
        "command": ["python3", "-c", SCRIPT],
        "args": [spec.model.name, *commits_of(spec.model)],
        "env": env,
        "resources": {
            "limits": {"cpu": "2", "memory": "2Gi"},
            "requests": {"cpu": "100m", "memory": "256Mi"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def read_end(ended: Mapping[str, Any]) -> tuple[Trouble, str]:
    """Of a container that ended badly: the kind and the words."""
    message = str(ended.get("message") or "")
    found = list(ENDS.finditer(message))
    if found:
        return Trouble(found[-1][1]), found[-1][2].strip()[:500]
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    said = f": {lines[-1][:300]}" if lines else ""
    return Trouble.FAILED, f"{ended.get('reason', 'Error')}, exit {ended.get('exitCode')}{said}"
