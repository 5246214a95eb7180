"""A real vLLM starts offline from weights of a hub, as the project's pods bring and mount them."""

import json
import os
import random
import struct
import subprocess
import threading
from dataclasses import replace

import pytest

from fleet.rules import weights
from fleet.rules.manifests import render
from fleet.rules.pins import Pins
from fleet.rules.release import ModelPin, ReleaseSpec, Resources
from sandbox.engines import tiny_model, vllm_env
from sandbox.registry.content import Content, tiny
from sandbox.registry.server import Server
from tests.fixtures.engines import serving
from tests.fixtures.kubernetes import ask

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300, func_only=True)]
MODEL = "acme/tiny"
OF_CPU = ("--dtype=float32", "--enforce-eager", "--distributed-executor-backend=uni")
SPEC = ReleaseSpec(
    service="chat",
    model=ModelPin(MODEL, "0" * 40),
    image="registry.local/vllm",
    image_digest="sha256:" + "2" * 64,
    resources=Resources(gpu_product="H100", gpus=1),
    arguments=("--max-model-len=256", *OF_CPU),
    pins=Pins(weights="/srv/weights"),
)


@pytest.fixture
def hub():
    content = Content()
    content.put_model(MODEL, "main", tiny() | {"model.safetensors": tensors()})
    server = Server(content)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def tensors() -> bytes:
    """Random weights of the tiny model, as a file of safetensors: a header, then the numbers."""
    shape = json.loads(tiny_model.files()["config.json"])
    wide, inner, tokens = (shape[k] for k in ("hidden_size", "intermediate_size", "vocab_size"))
    of_layer = {
        "input_layernorm": (wide,), "post_attention_layernorm": (wide,),
        "mlp.gate_proj": (inner, wide), "mlp.up_proj": (inner, wide),
        "mlp.down_proj": (wide, inner),
    } | {f"self_attn.{n}_proj": (wide, wide) for n in "qkvo"}  # fmt: skip
    shapes = {"model.embed_tokens": (tokens, wide), "lm_head": (tokens, wide)}
    shapes["model.norm"] = (wide,)
    for layer in range(shape["num_hidden_layers"]):
        shapes |= {f"model.layers.{layer}.{name}": size for name, size in of_layer.items()}
    header, body = {}, b""
    chance = random.Random(1)
    for name, size in shapes.items():
        count = size[0] * (size[1] if len(size) > 1 else 1)
        numbers = struct.pack(f"<{count}f", *(chance.gauss(0, 0.2) for _ in range(count)))
        place = [len(body), len(body) + len(numbers)]
        header[f"{name}.weight"] = {"dtype": "F32", "shape": size, "data_offsets": place}
        body += numbers
    told = json.dumps(header).encode()
    return struct.pack("<Q", len(told)) + told + body


def environment(container, cache) -> dict[str, str]:
    """Of a container, with the folder that is mounted in place of where it is mounted."""
    given = {e["name"]: e["value"] for e in container["env"] if "value" in e}
    return {k: str(cache) if v == weights.PLACE else v for k, v in given.items()}


def bring(spec, hub, vllm, cache, home):
    """What the pod runs that brings weights, with the real client of hubs; its last words."""
    container = weights.container(spec, hub=hub.url)
    python = vllm.root / "venv" / "bin" / "python"
    argv = [str(python), *container["command"][1:], *container["args"]]
    env = os.environ | environment(container, cache) | {"HF_HOME": str(home)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def files_of(folder):
    return {str(p.relative_to(folder)): p.lstat().st_mtime_ns for p in folder.rglob("*")}


def test_it_answers_by_name_and_commit_with_the_hub_away(hub, vllm: vllm_env.Installed, tmp_path):
    commit = hub.content.revisions[MODEL, "main"]["sha"]
    spec = replace(SPEC, model=ModelPin(MODEL, commit))
    cache, home = tmp_path / "weights", tmp_path / "home"
    assert f"{MODEL} at {commit[:12]}: " in bring(spec, hub, vllm, cache, home)
    asked, before = len(hub.asked), files_of(cache)
    deployment = next(o for o in render(spec, "models", 256) if o["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    arguments = [a for a in container["args"] if not a.startswith("--port")]
    assert f"--revision={commit}" in arguments
    own = environment(container, cache)
    assert own["HF_HUB_OFFLINE"] == "1"
    env = os.environ | vllm.environment() | own | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home)}
    argv = [str(vllm.vllm), "serve", *arguments]
    with serving(argv, tmp_path / "vllm.log", timeout=240, env=env) as port:
        body = {"model": "chat", "prompt": "hello", "max_tokens": 4, "ignore_eos": True}
        code, answer = ask("127.0.0.1", "/v1/completions", body, port=port, timeout=60)
    assert (code, answer["usage"]["completion_tokens"]) == (200, 4), answer
    log = (tmp_path / "vllm.log").read_text()
    assert "Loading weights took" in log  # those of the file, no dummies
    assert len(hub.asked) == asked
    assert files_of(cache) == before  # it is mounted to read
