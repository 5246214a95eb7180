"""The rules about arguments against the parser of the real vLLM: one process parses all lists."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from fleet.rules.kv_transfer import CONNECTORS
from fleet.rules.pinning import ENVIRONMENT
from fleet.rules.pins import Adapter, Pins
from fleet.rules.pods import arguments
from fleet.rules.release import ModelPin
from fleet.rules.vllm_args import normalise, refusals
from fleet.rules.vllm_options import CHOICES, FORBIDDEN, KNOWN, RESERVED, SHORT, SWITCHES
from sandbox.engines import vllm_env
from tests.fleet.rules.test_argument_rules import ACCEPTED, UNKNOWN_TO_VLLM
from tests.fleet.rules.walk import make_spec

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120, func_only=True)]
PROGRAM = Path(__file__).with_name("arguments_of_vllm.py")
RENDERED = {"rendered": arguments(make_spec(arguments=("--max-num-seqs=64",)), 4096, "rel-1")}
PINNED = make_spec(
    arguments=("--enable-lora", "--max-loras=2"),
    model=ModelPin("registry.local/models/tiny", "sha256:" + "d" * 64),
    pins=Pins(adapters=tuple(Adapter(n, f"/adapters/{n}", "sha256:" + n * 64) for n in "ab")),
)
RENDERED |= {"rendered with adapters": arguments(PINNED, 4096, "rel-1")}
MEDIA = make_spec(arguments=("--allowed-media-domains=a.example.com,b.example.com",))
RENDERED |= {"rendered with hosts of media": arguments(MEDIA, 4096, "rel-1")}
LINES = {name: list(normalise(given)) for name, given in (ACCEPTED | UNKNOWN_TO_VLLM).items()}
ASKED = LINES | RENDERED


@pytest.fixture(scope="module")
def parsed(vllm: vllm_env.Installed) -> dict:
    """What the parser of vLLM says about everything that the rules know."""
    variables = [name for name in ENVIRONMENT if name.startswith("VLLM_")]
    asked = json.dumps({"lines": list(ASKED.values()), "variables": variables})
    python = vllm.vllm.with_name("python")
    done = subprocess.run(
        [str(python), str(PROGRAM)],
        input=asked,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env=os.environ | vllm.environment(),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return found | {"lines": dict(zip(ASKED, found["lines"], strict=True))}


def test_it_knows_no_option_that_vllm_does_not_have(parsed: dict):
    short = SHORT.keys() - {"-O"}  # the parser takes it apart before it looks for options
    ours = KNOWN | RESERVED.keys() | FORBIDDEN.keys() | short
    assert sorted(ours - parsed["options"].keys()) == []


def test_it_knows_which_options_take_a_value(parsed: dict):
    options = parsed["options"]
    assert sorted(f for f in KNOWN if options[f]["switch"] != (f in SWITCHES)) == []


def test_it_knows_the_choices_of_vllm(parsed: dict):
    options = parsed["options"]
    strange = {f: sorted(c - set(options[f]["choices"])) for f, c in CHOICES.items()}
    assert {flag: found for flag, found in strange.items() if found} == {}


def test_it_knows_the_kv_connectors_of_vllm(parsed: dict):
    assert sorted(CONNECTORS) == parsed["connectors"]


def test_it_refuses_no_variable_that_vllm_does_not_read(parsed: dict):
    assert parsed["unknown"] == []


@pytest.mark.parametrize("name", [*ACCEPTED, *RENDERED])
def test_it_accepts_what_vllm_parses(name: str, parsed: dict):
    assert name in RENDERED or list(refusals(ASKED[name])) == []
    assert parsed["lines"][name] == ""


@pytest.mark.parametrize("name", UNKNOWN_TO_VLLM)
def test_it_refuses_what_vllm_cannot_parse(name: str, parsed: dict):
    assert list(refusals(ASKED[name]))
    assert parsed["lines"][name]
