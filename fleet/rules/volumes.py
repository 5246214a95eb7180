"""Volumes of a pod beside its memory: a model that is elsewhere, pinned files and secrets."""

from typing import Any

from fleet.rules import weights
from fleet.rules.pins import object_name
from fleet.rules.release import ModelPin, ReleaseSpec

MODEL = "/model"
CONFIG, SECRET = "/etc/config", "/etc/secret"


def place_of(pin: ModelPin) -> str:
    """What follows `vllm serve`: a repository of the hub, or where the model lies in the pod."""
    return MODEL if pin.is_artifact else pin.name


def config_name(own: str, spec: ReleaseSpec, name: str) -> str:
    """One that the console makes is named after its release, too: it goes with it."""
    of_content = object_name(name, spec.pins.configs[name])
    return f"{own}-{of_content}" if name in spec.pins.files else of_content


def volumes(spec: ReleaseSpec, own: str) -> list[dict[str, Any]]:
    """`own`: the name of the release in the cluster."""
    found: list[dict[str, Any]] = []
    if spec.model.is_artifact:  # pulled by its digest, as images are
        reference = f"{spec.model.name}@{spec.model.commit}"
        image = {"reference": reference, "pullPolicy": "IfNotPresent"}
        found.append({"name": "model", "image": image})
    if spec.pins.weights:
        found.append(weights.volume(spec.pins.weights))
    for name in sorted(spec.pins.configs):
        config = {"name": config_name(own, spec, name)}
        found.append({"name": f"config-{name}", "configMap": config})
    for name, digest in sorted(spec.pins.secrets.items()):
        secret = {"secretName": object_name(name, digest)}
        found.append({"name": f"secret-{name}", "secret": secret})
    return found


def mounts(spec: ReleaseSpec) -> list[dict[str, Any]]:
    places = [("model", MODEL)] if spec.model.is_artifact else []
    places += [(weights.VOLUME, weights.PLACE)] if spec.pins.weights else []
    places += [(f"config-{name}", f"{CONFIG}/{name}") for name in sorted(spec.pins.configs)]
    places += [(f"secret-{name}", f"{SECRET}/{name}") for name in sorted(spec.pins.secrets)]
    return [{"name": name, "mountPath": path, "readOnly": True} for name, path in places]
