"""A model that is an artifact of a registry: a volume of its digest, pulled as images are."""

from typing import Any

from fleet.rules.release import ModelPin

WHERE = "/model"
NAME = "model"


def place_of(pin: ModelPin) -> str:
    """What follows `vllm serve`: a repository of the hub, or where the model lies in the pod."""
    return WHERE if pin.is_artifact else pin.name


def volumes(pin: ModelPin) -> list[dict[str, Any]]:
    if not pin.is_artifact:
        return []
    reference = {"reference": f"{pin.name}@{pin.commit}", "pullPolicy": "IfNotPresent"}
    return [{"name": NAME, "image": reference}]


def mounts(pin: ModelPin) -> list[dict[str, Any]]:
    return [{"name": NAME, "mountPath": WHERE, "readOnly": True}] if pin.is_artifact else []
