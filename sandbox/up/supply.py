"""Tell the console where it may ask what a tag means, and whose signatures count."""

from collections.abc import Mapping
from pathlib import Path

from sandbox.engines.images import REGISTRY

SIGNERS = {"QM_SIGNERS": "signers.json", "QM_MODEL_SIGNERS": "model_signers.json"}
POLICIES = ("QM_SIGNATURES", "QM_MODEL_SIGNATURES")


def supply(folder: Path, port: int, given: Mapping[str, str]) -> dict[str, str]:
    """The sandbox's own registry beside what the person named; its signatures only warn."""
    address = f"http://127.0.0.1:{port}"
    others = given.get("QM_REGISTRIES", "")
    found = {"QM_REGISTRIES": ",".join(filter(None, [others, f"{REGISTRY}={address}"]))}
    if not given.get("QM_MODEL_HUB"):
        found["QM_MODEL_HUB"] = address
    ours = not any(given.get(name) for name in ("QM_SIGSTORE_ROOT", *SIGNERS))
    if ours:
        found["QM_SIGSTORE_ROOT"] = str(folder / "trusted_root.json")
        found |= {name: str(folder / file) for name, file in SIGNERS.items()}
    policies = {name: "warn" for name in POLICIES if not given.get(name)}
    # Whose models count is a person's own: without signers there is nothing to warn of.
    return found | (policies if ours else {k: v for k, v in policies.items() if "MODEL" not in k})
