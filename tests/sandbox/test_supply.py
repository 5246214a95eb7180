"""What the console is told about the sandbox's registry, beside what a person chose."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

from console.given import addresses, policies, signers, trust_root
from sandbox.process import wait_until
from sandbox.registry.content import IDENTITY, MAKER
from sandbox.up.supply import supply

FOLDER = Path("/data/registry")


def test_it_names_the_registry_of_the_sandbox_and_warns_of_signatures():
    found = supply(FOLDER, 5601, {})
    assert addresses(found["QM_REGISTRIES"]) == {"registry.local": "http://127.0.0.1:5601"}
    assert found["QM_MODEL_HUB"] == "http://127.0.0.1:5601"
    assert found["QM_SIGSTORE_ROOT"] == "/data/registry/trusted_root.json"
    assert policies(found["QM_SIGNATURES"]) == {"": "warn"}
    assert policies(found["QM_MODEL_SIGNATURES"]) == {"": "warn"}
    assert found["QM_MODEL_SIGNERS"] == "/data/registry/model_signers.json"


def test_it_leaves_what_the_person_chose():
    given = {
        "QM_REGISTRIES": "registry.example",
        "QM_MODEL_HUB": "https://hub.example",
        "QM_SIGSTORE_ROOT": "/mine.json",
        "QM_SIGNATURES": "enforce",
    }
    found = supply(FOLDER, 5601, given)
    assert addresses(found["QM_REGISTRIES"]) == {
        "registry.example": "https://registry.example",
        "registry.local": "http://127.0.0.1:5601",
    }
    assert found.keys() == {"QM_REGISTRIES"}


def test_it_warns_of_no_model_where_a_person_trusts_others():
    found = supply(FOLDER, 5601, {"QM_SIGSTORE_ROOT": "/mine.json"})
    assert found["QM_SIGNATURES"] == "warn"
    assert "QM_MODEL_SIGNATURES" not in found


def test_it_serves_signed_images_and_writes_what_checks_them(tmp_path):
    log = tmp_path / "log"
    argv = [sys.executable, "-m", "sandbox.registry", "--data", str(tmp_path)]
    with log.open("wb") as out, subprocess.Popen(argv, stdout=out, env=os.environ) as server:
        try:
            wait_until("the registry", lambda: b"\n" in log.read_bytes(), 60)
            said = json.loads(log.read_text())
            index = f"{said['url']}/v2/vllm-standin/manifests/0.32.0"
            digest = httpx.get(index, trust_env=False).headers["docker-content-digest"]
            attached = f"{said['url']}/v2/vllm-standin/referrers/{digest}"
            assert len(httpx.get(attached, trust_env=False).json()["manifests"]) == 1
            assert trust_root(tmp_path / "trusted_root.json")
            assert [s.identity for s in signers(tmp_path / "signers.json")] == [IDENTITY]
            assert [s.identity for s in signers(tmp_path / "model_signers.json")] == [MAKER]
            for name, signed in (("tiny", True), ("tiny-unsigned", False)):
                model = f"{said['url']}/api/models/sandbox/{name}/revision/main"
                files = httpx.get(model, trust_env=False).json()["siblings"]
                assert ("model.sig" in {f["rfilename"] for f in files}) is signed
        finally:
            server.terminate()
