"""Tell the console where it may ask what a tag means, and whose signatures count."""

from collections.abc import Mapping
from pathlib import Path

from sandbox.engines.images import REGISTRY


def supply(folder: Path, port: int, given: Mapping[str, str]) -> dict[str, str]:
    """The sandbox's own registry beside what the person named; its signatures only warn."""
    address = f"http://127.0.0.1:{port}"
    others = given.get("QM_REGISTRIES", "")
    found = {"QM_REGISTRIES": ",".join(filter(None, [others, f"{REGISTRY}={address}"]))}
    if not given.get("QM_MODEL_HUB"):
        found["QM_MODEL_HUB"] = address
    if not any(given.get(name) for name in ("QM_SIGSTORE_ROOT", "QM_SIGNERS")):
        found["QM_SIGSTORE_ROOT"] = str(folder / "trusted_root.json")
        found["QM_SIGNERS"] = str(folder / "signers.json")
    return found | ({} if given.get("QM_SIGNATURES") else {"QM_SIGNATURES": "warn"})
