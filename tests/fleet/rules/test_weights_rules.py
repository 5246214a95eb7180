"""Caches for weights of a hub: which are taken, what mounts them, how a download's end is read."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.rules.manifests import render
from fleet.rules.pins import Pins, parts_of, stored
from fleet.rules.release import ModelPin, ReleaseSpec, Resources, digest_of
from fleet.rules.weights import (
    OWN,
    PLACE,
    Trouble,
    cache_for,
    container,
    read_cache,
    read_end,
    read_name,
    volume,
)
from fleet.rules.weights_script import SCRIPT
from sandbox.cluster.images import runs_script

COMMIT = "a" * 40
SPEC = ReleaseSpec(
    service="chat",
    model=ModelPin("acme/tiny", COMMIT, tokenizer_commit="b" * 40, code_commit=COMMIT),
    image="registry.local/vllm",
    image_digest="sha256:" + "2" * 64,
    resources=Resources(gpu_product="H100", gpus=2),
)
CACHED = replace(SPEC, pins=Pins(weights="/srv/weights"))


@pytest.mark.parametrize(
    ("given_text", "want"),
    [
        ("", ""),
        ("  ", ""),
        ("/srv/weights/", "/srv/weights"),
        ("/var/lib/weights", "/var/lib/weights"),
        ("models-cache", "models-cache"),
        ("team.models", "team.models"),
    ],
)
def test_it_takes_a_directory_a_claim_or_none(given_text, want):
    assert read_cache(given_text) == want


WRONG = [
    "/", "//srv", "/srv//x", "/srv/../etc", "/srv/./x", "/srv/.x", "/srv/a b", "srv/x", "Models",
    "-x", "x-", "/etc/weights", "/var", "/var/lib", "/var/lib/kubelet/pods", "/proc", "/srv/$(X)",
    "/" + "a" * 201, "a" * 254, "/srv/x\n",
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_it_refuses_what_is_neither_and_a_nodes_own_directories(text):
    if text == "/srv/x\n":
        assert read_cache(text) == "/srv/x"
        return
    with pytest.raises(ValueError, match=r"\w"):
        read_cache(text)


@given(st.text(alphabet="/.ab-_", max_size=24))
def test_what_it_takes_is_one_plain_place_and_stays_as_it_is(text):
    try:
        kept = read_cache(text)
    except ValueError:
        return
    assert read_cache(kept) == kept
    if kept.startswith("/"):
        assert not {"..", ".", ""} & set(kept[1:].split("/"))
        assert not any(f"{kept}/".startswith(f"{own}/") for own in OWN)


def test_a_secrets_name_is_one():
    assert read_name(" hub-token ", "a Secret") == "hub-token"
    with pytest.raises(ValueError, match="not the name of a Secret"):
        read_name("Hub_Token", "a Secret")


def test_only_models_of_a_hub_pin_it():
    assert cache_for(SPEC.model, "/srv/weights") == "/srv/weights"
    assert cache_for(ModelPin("/models/tiny", COMMIT), "/srv/weights") == ""
    assert cache_for(ModelPin("registry.local/m", "sha256:" + "1" * 64), "/srv/weights") == ""


def test_a_release_without_one_is_what_it_was():
    assert "weights" not in stored(SPEC.pins)
    assert "weights" not in json.dumps(render(SPEC, "models", 4096))
    assert digest_of(SPEC) != digest_of(CACHED)
    assert parts_of(CACHED.pins)["weights"] == {"cache": "/srv/weights"}


def deployment(spec):
    made = next(m for m in render(spec, "models", 4096) if m["kind"] == "Deployment")
    return made["spec"]["template"]["spec"]


@pytest.mark.parametrize("cache", ["/srv/weights", "models-cache"])
def test_engines_read_it_offline_and_cannot_write_it(cache):
    spec = replace(SPEC, pins=Pins(weights=cache), environment={"HF_HUB_CACHE": "/elsewhere"})
    pod = deployment(spec)
    (engine,) = pod["containers"]
    env = {e["name"]: e.get("value") for e in engine["env"]}
    assert (env["HF_HUB_CACHE"], env["HF_HUB_OFFLINE"]) == (PLACE, "1")
    assert {"name": "weights", "mountPath": PLACE, "readOnly": True} in engine["volumeMounts"]
    assert volume(cache) in pod["volumes"]
    if cache == "models-cache":
        claim = {"claimName": "models-cache", "readOnly": True}
        assert volume(cache)["persistentVolumeClaim"] == claim


def test_a_download_asks_for_exactly_the_commits_and_names_no_token():
    made = container(SPEC, hub="https://hub.example", secret="hub-token")  # noqa: S106 - its name
    assert made["command"] == ["python3", "-c", SCRIPT]
    assert made["args"] == ["acme/tiny", COMMIT, "b" * 40]
    env = {e["name"]: e for e in made["env"]}
    assert env["HF_ENDPOINT"]["value"] == "https://hub.example"
    assert env["HF_TOKEN"] == {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "hub-token", "key": "token"}},
    }
    assert "HF_HUB_OFFLINE" not in env
    assert {"HF_ENDPOINT", "HF_TOKEN"}.isdisjoint(e["name"] for e in container(SPEC)["env"])
    assert "$(" not in SCRIPT  # a kubelet would replace it


def test_the_sandbox_runs_this_script_and_no_other():
    assert runs_script(["python3", "-c", SCRIPT])
    assert not runs_script(["python3", "-c", SCRIPT + " "])
    assert not runs_script(["python3", "-c", SCRIPT, "more"])


ENDS = {
    "of a hub": ("hub: ConnectError: refused", Trouble.HUB, "ConnectError: refused"),
    "after other lines": ("Fetching\ncommit: 404", Trouble.COMMIT, "404"),
    "of none of ours": ("Killed by fate", Trouble.FAILED, "Error, exit 1: Killed by fate"),
    "without a word": ("", Trouble.FAILED, "Error, exit 1"),
}


@pytest.mark.parametrize("case", ENDS)
def test_it_reads_how_a_download_ended(case):
    message, kind, words = ENDS[case]
    assert read_end({"message": message, "reason": "Error", "exitCode": 1}) == (kind, words)


# A client of a hub that only fails: {} is what `model_info` raises.
CLIENT = """
import errno
class HfHubHTTPError(OSError): pass
class RevisionNotFoundError(HfHubHTTPError): pass
class GatedRepoError(HfHubHTTPError): pass
class LocalEntryNotFoundError(FileNotFoundError): pass
class Answer: status_code = 403
def forbidden():
    error = HfHubHTTPError("403 Forbidden"); error.response = Answer()
    return error
class HfApi:
    def model_info(self, name, **more):
        raise {}
"""
RAISED = {
    "disk": 'OSError(errno.ENOSPC, "No space left on device", "/weights/x")',
    "hub": 'LocalEntryNotFoundError("cannot find the requested files")',
    "commit": 'RevisionNotFoundError("404 Client Error")',
    "access": "forbidden()",
    "failed": 'PermissionError(errno.EACCES, "Permission denied", "/weights/x")',
}


@pytest.mark.parametrize("kind", RAISED)
def test_each_trouble_is_named_by_the_last_line(tmp_path, kind):
    client = CLIENT.replace("{}", RAISED[kind]) + "snapshot_download = None\n"
    (tmp_path / "huggingface_hub.py").write_text(client)
    env = {"PYTHONPATH": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)}
    argv = [sys.executable, "-c", SCRIPT, "acme/tiny", COMMIT]
    ran = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert read_end({"message": ran.stdout})[0] == kind


def test_an_image_without_the_client_fails_in_words(tmp_path):
    env = {"HF_HUB_CACHE": str(tmp_path)}
    argv = [sys.executable, "-I", "-S", "-c", SCRIPT, "acme/tiny", COMMIT]
    ran = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    kind, words = read_end({"message": ran.stdout})
    assert (ran.returncode, kind, "huggingface_hub" in words) == (1, Trouble.FAILED, True)
