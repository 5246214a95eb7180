"""The images that the sandbox's nodes can pull, by name.

CATALOGUE is the machine-readable list: other code and the demo take references from it and never
write a digest by hand. A digest here is the hash of a manifest without layers, which
sandbox.registry serves; it names an entry of the image table (sandbox.cluster.images).
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sandbox.engines import vllm_env

REGISTRY = "registry.local"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_DIGEST = "sha256:" + hashlib.sha256(b"{}").hexdigest()
STANDIN = ["{python}", "-m", "sandbox.engines.standin"]
# What a small model on an L40S does; times in milliseconds.
PACE = ["--ttft-ms", "40", "--ttft-ms-per-token", "0.02", "--itl-ms", "8"]
PACE_SLOW = ["--ttft-ms", "120", "--ttft-ms-per-token", "0.06", "--itl-ms", "24"]


@dataclass(frozen=True)
class CatalogueImage:
    """One image: what a release names, and what it does."""

    name: str
    repo: str
    tag: str
    description: str
    vllm_version: str
    command: tuple[str, ...]
    faulty: bool = False
    dies_of: str = ""
    pull_seconds: float = 0.5

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.manifest()).hexdigest()

    def manifest(self) -> bytes:
        """Of the image; its annotations make it one of its own."""
        return oci_manifest([], {"org.opencontainers.image.ref.name": f"{self.repo}:{self.tag}"})

    @property
    def reference(self) -> str:
        """As a release pins it: repository@digest."""
        return f"{self.repo}@{self.digest}"


def oci_manifest(layers: list[dict[str, Any]], annotations: dict[str, str], **more: str) -> bytes:
    empty = {"mediaType": EMPTY, "size": 2, "digest": EMPTY_DIGEST}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": layers}
    return json.dumps(document | more | {"annotations": annotations}, sort_keys=True).encode()


def _standin(name: str, version: str, description: str, *flags: str) -> CatalogueImage:
    command = (*STANDIN, "--engine-version", version, *PACE, *flags)
    repo = f"{REGISTRY}/vllm-standin"
    return CatalogueImage(name, repo, version, description, version, command)


def _faulty(kind: str, description: str, *flags: str, dies_of: str = "") -> CatalogueImage:
    version = "0.32.0"
    pace = PACE_SLOW if kind == "slow" else PACE
    command = (*STANDIN, "--engine-version", version, *pace, *flags)
    repo = f"{REGISTRY}/vllm-standin-faulty-{kind}"
    return CatalogueImage(
        f"faulty-{kind}", repo, version, description, version, command, True, dies_of
    )


_IMAGES = (
    _standin("standin-0.31", "0.31.0", "Stand-in engine as vLLM 0.31"),
    _standin("standin-0.32", "0.32.0", "Stand-in engine as vLLM 0.32"),
    _standin("standin-0.32.1", "0.32.1", "Stand-in engine as vLLM 0.32.1: one more good version"),
    _faulty("crash", "Exits with 1 right after its start: CrashLoopBackOff", "--crash-after", "1"),
    _faulty(
        "oom",
        "Runs out of memory while it loads: OOMKilled, 137",
        "--crash-after",
        "1.5",
        dies_of="OOMKilled",
    ),
    _faulty(
        "worker",
        "Of an engine over several pods, workers exit with 1 after their start",
        "--worker-crash-after",
        "1",
    ),
    _faulty("never-ready", "Loads for ever: its port never opens", "--start-delay", "86400"),
    _faulty("slow", "Works, at three times the time to first token and between tokens"),
    _faulty("errors", "Fails 5 % of the requests with 500", "--error-rate", "0.05"),
    _faulty("truncated", "Cuts every second stream half-way", "--break-rate", "0.5"),
    _faulty(
        "breaks-contract",
        "Takes no notice of JSON schemas, stop words, tools and the longest context",
        "--loose",
    ),
    _faulty("wrong-answer", "Answers every request with no token at all", "--garble"),
    _faulty("wrong-cache", "Tells that it runs with another cache than its arguments say", "--lie"),
    _faulty(
        "wrong-fingerprint",
        "Answers with the fingerprint of another release",
        "--force-fingerprint",
        "rel-ffffffffffff",
    ),
)
VLLM_CPU = CatalogueImage(
    "vllm-cpu",
    f"{REGISTRY}/vllm-cpu",
    vllm_env.VLLM_VERSION,
    "Real vLLM on CPU with the tiny model of random weights at /models/tiny",
    vllm_env.VLLM_VERSION,
    (),
)
# Every reference that nodes can pull; vllm-cpu only where its environment is installed.
CATALOGUE: dict[str, CatalogueImage] = {image.name: image for image in (*_IMAGES, VLLM_CPU)}
# A well-formed reference that no registry has: ErrImagePull.
UNKNOWN_REFERENCE = f"{REGISTRY}/vllm-standin@sha256:{'0' * 64}"


def available() -> dict[str, CatalogueImage]:
    """The part of the catalogue that this machine can run now."""
    have_vllm = vllm_env.installed() is not None
    return {n: i for n, i in CATALOGUE.items() if n != VLLM_CPU.name or have_vllm}


def table_entries() -> dict[str, object]:
    """The standard entries of the image table, keyed by reference."""
    return {image.reference: _entry(image) for image in available().values()}


def _entry(image: CatalogueImage) -> dict[str, object]:
    common: dict[str, object] = {
        "tag": image.tag,
        "description": image.description,
        "pull_seconds": image.pull_seconds,
        "dies_of": image.dies_of,
    }
    if image.name == VLLM_CPU.name:
        return common | vllm_env.image_entry()
    return common | {
        "command": list(image.command),
        # A real image listens on 0.0.0.0; here all pods share one network.
        "append": ["--host", "{pod_ip}"],
        # Beside the engine a hub's client in small, which an image of vLLM has as well.
        "env": {"PYTHONPATH": "{root}:{root}/sandbox/engines/hub"},
    }
