"""Directories of nodes (hostPath) and claims as folders below the sandbox's data.

Pods are plain processes that all see one file system: what is mounted is not there under its path
in the container, so paths in variables are replaced by where the folder really is. Nothing is
read-only, and no folder has a size.
"""

from pathlib import Path

from sandbox.cluster.kube import Json


def mounts(state: Path, node: str, namespace: str, pod: Json, container: Json) -> dict[str, str]:
    """Mount paths of a container to folders, which are made."""
    kept = {v["name"]: place for v in pod.get("volumes") or [] if (place := _place(v))}
    found = {}
    for mount in container.get("volumeMounts") or []:
        if mount["name"] not in kept:
            continue
        kind, name = kept[mount["name"]]
        owner = node if kind == "nodes" else namespace
        folder = state / kind / owner / name.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        found[mount["mountPath"]] = str(folder)
    return found


def _place(volume: Json) -> tuple[str, str] | None:
    if "hostPath" in volume:
        return "nodes", volume["hostPath"]["path"]
    if "persistentVolumeClaim" in volume:
        return "claims", volume["persistentVolumeClaim"]["claimName"]
    return None


def placed(env: dict[str, str], mounted: dict[str, str]) -> dict[str, str]:
    """Variables that name a mounted path, or one below it, name the folder instead."""
    return {name: _real(value, mounted) for name, value in env.items()}


def _real(value: str, mounted: dict[str, str]) -> str:
    for path, folder in mounted.items():
        if value == path or value.startswith(f"{path}/"):
            return folder + value.removeprefix(path)
    return value
