"""What a release pins: its digest, its refusals, its differences, its manifests."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.rules.manifests import name_of, placed, render
from fleet.rules.pinning import Limits, read_image, refuse_moved, refuse_release, warnings_of
from fleet.rules.release import ModelPin, Probes, Resources, digest_of, fingerprint_of
from tests.fleet.rules.walk import make_spec

GOLDEN = Path(__file__).with_name("golden_release.json")
D = "sha256:" + "d" * 64
LIMITS = Limits(max_model_len=4096, largest_node=8)


def test_its_digest_does_not_depend_on_the_order_of_the_environment():
    one = make_spec(environment={"A": "1", "B": "2"})
    other = make_spec(environment={"B": "2", "A": "1"})
    assert digest_of(one) == digest_of(other)


@pytest.mark.parametrize(
    "changes",
    [
        {"service": "code"},
        {"image_digest": "sha256:" + "e" * 64},
        {"arguments": ("--max-num-seqs=8",)},
        {"environment": {"A": "1"}},
        {"resources": Resources("NVIDIA-L40S", 1)},
        {"probes": Probes(drain_seconds=11)},
        {"model": ModelPin("org/model", "a" * 40, tokenizer_commit="b" * 40)},
    ],
    ids=str,
)
def test_its_digest_covers_every_part(changes):
    assert digest_of(make_spec(**changes)) != digest_of(make_spec())


IMAGES = {
    "a tag": ("repo/vllm:0.32", "the tag '0.32'"),
    "nothing": ("repo/vllm", "no digest"),
    "a short digest": ("repo/vllm@sha256:dd", "is not a digest"),
    "a space": ("repo vllm@" + D, "is not an image reference"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_it_refuses_an_image_that_can_move(case):
    given, want = IMAGES[case]
    with pytest.raises(ValueError, match=want.replace("(", r"\(")):
        read_image(given)


def test_it_keeps_a_tag_only_as_a_label():
    found = read_image(f"reg.local:5000/vllm:0.32@{D}")
    assert (found.repository, found.tag, found.digest) == ("reg.local:5000/vllm", "0.32", D)


REFUSED = {
    "a branch": ({"model": ModelPin("org/m", "main")}, "commit", "branch"),
    "a path alone": ({"model": ModelPin("/models/m", "a" * 40)}, "commit", "is a path"),
    "an artifact of no registry": ({"model": ModelPin("org/m", D)}, "model", "with its registry"),
    "no name": ({"model": ModelPin("", "a" * 40)}, "model", "Name the model"),
    "a short tokenizer commit": (
        {"model": ModelPin("org/m", "a" * 40, tokenizer_commit="abc")}, "tokenizer", "short"),
    "a wrong template digest": (
        {"model": ModelPin("org/m", "a" * 40, chat_template_digest="x")}, "chat_template", "64"),
    "idle GPUs": ({"resources": Resources(gpus=2)}, "resources", "1 would stay idle"),
    "missing GPUs": ({"arguments": ("--pipeline-parallel-size=2",)}, "resources", "1 missing"),
    "no GPU": ({"resources": Resources(gpus=0)}, "resources", "at least one"),
    "a large replica": (
        {"resources": Resources(gpus=16), "arguments": ("--tensor-parallel-size=16",)},
        "resources", "the largest has 8"),
    "a quantity": ({"resources": Resources(memory="lots")}, "resources", "not a quantity"),
    "a short context": ({"arguments": ("--max-model-len=1024",)}, "arguments", "4,096 tokens"),
    "dev mode": ({"environment": {"VLLM_SERVER_DEV_MODE": "1"}}, "environment", "endpoints"),
    "a secret": ({"environment": {"MY_PASSWORD": "1"}}, "environment", "secret"),
    "no variable": ({"environment": {"1A": "1"}}, "environment", "not a name"),
    "a long drain": ({"probes": Probes(drain_seconds=9999)}, "probes", "3,600"),
    "no drain": ({"probes": Probes(drain_seconds=0)}, "probes", "between 1"),
    "a short start": ({"probes": Probes(startup_seconds=1)}, "probes", "between 10"),
    "a long pre-stop": ({"probes": Probes(pre_stop_seconds=500)}, "probes", "120"),
    "no teardown": ({"probes": Probes(teardown_seconds=0)}, "probes", "300"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_with_a_sentence(case):
    changes, field, words = REFUSED[case]
    found = list(refuse_release(make_spec(**changes), LIMITS))
    assert [(f, s) for f, s in found if f.startswith(field) and words in s], found


def test_it_takes_a_release_that_pins_everything():
    good = make_spec(arguments=("--max-model-len=8192", "--enable-prefix-caching"))
    assert list(refuse_release(good, LIMITS)) == []


def test_it_catches_a_label_that_moved():
    assert "moved" in refuse_moved("v1", "b" * 40, [("a" * 40, "chat r3")])
    assert refuse_moved("v1", "a" * 40, [("a" * 40, "chat r3")]) == ""
    assert refuse_moved("", "b" * 40, [("a" * 40, "chat r3")]) == ""


def test_it_warns_of_what_is_allowed():
    spec = make_spec(arguments=("--trust-remote-code",), resources=Resources(gpus=1))
    found = " ".join(warnings_of(spec, request_seconds=300))
    assert "cut" in found
    assert "trust-remote-code" in found
    assert "No GPU product" in found


def test_it_renders_the_golden_manifests():
    """Write the file anew with what `render` gives, when a change of it is meant."""
    spec = make_spec(arguments=("--max-num-seqs=64",), environment={"OMP_NUM_THREADS": "1"})
    assert render(spec, "models", 4096) == json.loads(GOLDEN.read_text())


def test_it_pins_weights_tokenizer_and_code_of_a_hub_model_only():
    hub = render(make_spec(), "models", 4096)[1]
    path = render(make_spec(model=ModelPin("/models/tiny", D)), "models", 4096)[1]
    args = [m["spec"]["template"]["spec"]["containers"][0]["args"] for m in (hub, path)]
    assert f"--revision={'a' * 40}" in args[0]
    assert f"--code-revision={'a' * 40}" in args[0]
    assert not [a for a in args[1] if "revision" in a]
    assert args[1][0] == "/models/tiny"


def test_it_mounts_a_model_that_is_an_artifact_by_its_digest():
    spec = make_spec(model=ModelPin("registry.local/models/tiny", D))
    pod = render(spec, "models", 4096)[1]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["volumes"][1]["image"]["reference"] == f"registry.local/models/tiny@{D}"
    assert container["volumeMounts"][1] == {
        "name": "model",
        "mountPath": "/model",
        "readOnly": True,
    }
    assert container["args"][0] == "/model"
    assert not [a for a in container["args"] if "revision" in a]


def test_it_carries_its_fingerprint_everywhere():
    spec = make_spec()
    fingerprint = fingerprint_of(digest_of(spec))
    manifest = render(spec, "models", 4096)[1]
    pod = manifest["spec"]["template"]
    assert f"--fingerprint-value={fingerprint}" in pod["spec"]["containers"][0]["args"]
    for labels in (
        manifest["metadata"]["labels"],
        manifest["spec"]["selector"]["matchLabels"],
        pod["metadata"]["labels"],
    ):
        assert labels["quartermaster.dev/release"] == fingerprint


def test_it_changes_nothing_but_scale_and_fence():
    manifest = render(make_spec(), "models", 4096)[1]
    found = placed(manifest, replicas=3, fence=7)
    assert found["spec"].pop("replicas") == 3
    assert found["metadata"]["annotations"].pop("quartermaster.dev/fence") == "7"
    assert found == manifest


def test_it_gives_the_kill_more_time_than_the_drain():
    spec = make_spec(probes=Probes(pre_stop_seconds=15, drain_seconds=90, teardown_seconds=15))
    pod = render(spec, "models", 4096)[1]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 120
    assert "--shutdown-timeout=90" in pod["containers"][0]["args"]


def test_an_engine_that_may_fetch_media_follows_no_host_elsewhere():
    """vLLM checks the host of the address that it is given, and of no other."""
    given = ("--allowed-media-domains=a.example.com,b.example.com",)
    for arguments, want in ((given, "0"), ((), None)):
        pod = render(make_spec(arguments=arguments), "models", 4096)[1]["spec"]["template"]["spec"]
        environment = {e["name"]: e.get("value") for e in pod["containers"][0]["env"]}
        assert environment.get("VLLM_MEDIA_URL_ALLOW_REDIRECTS") == want
    pod = render(make_spec(arguments=given), "models", 4096)[1]["spec"]["template"]["spec"]
    words = pod["containers"][0]["args"]
    assert words[-3:] == ["--allowed-media-domains", "a.example.com", "b.example.com"]


def test_it_renders_no_pre_stop_of_zero_seconds():
    spec = make_spec(probes=replace(Probes(), pre_stop_seconds=0))
    pod = render(spec, "models", 4096)[1]["spec"]["template"]["spec"]
    assert "lifecycle" not in pod["containers"][0]


def test_it_keeps_names_short_enough():
    assert len(name_of("x" * 63, "a" * 64)) <= 63
    assert name_of("chat", "0123456789") == "chat-01234567"
