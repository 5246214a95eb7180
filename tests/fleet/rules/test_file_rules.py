"""Files that a release brings: in its digest, immutable in the cluster, or refused."""

import pytest

from fleet.rules.by_hand import lines_back
from fleet.rules.manifests import RELEASE, files_of, render, surroundings, workload
from fleet.rules.pinning import Limits, refuse_release
from fleet.rules.pins import LARGEST, Pins, digest_of_files, pins_from, stored
from fleet.rules.release import digest_of, fingerprint_of
from tests.fleet.rules.test_by_hand_rules import hand
from tests.fleet.rules.walk import make_spec

LIMITS = Limits(max_model_len=4096, largest_node=8)
CONTENT = {"chat.jinja": "{{ messages }}\n", "stop.txt": "END"}
PINS = pins_from({"files": {"prompts": CONTENT}, "configs": {"other": "sha256:" + "a" * 64}})
SPEC = make_spec(pins=PINS)


def test_a_content_is_pinned_by_its_digest():
    assert PINS.configs["prompts"] == digest_of_files(CONTENT)
    assert digest_of_files(dict(reversed(CONTENT.items()))) == digest_of_files(CONTENT)
    changed = pins_from({"files": {"prompts": CONTENT | {"stop.txt": "END\n"}}})
    assert changed.configs["prompts"] != PINS.configs["prompts"]
    assert pins_from(stored(PINS)) == PINS
    assert list(refuse_release(SPEC, LIMITS)) == []


def test_it_refuses_a_content_with_the_digest_of_another():
    with pytest.raises(ValueError, match="prompts is given twice"):
        pins_from({"files": {"prompts": CONTENT}, "configs": {"prompts": "sha256:" + "b" * 64}})


REFUSED = {
    "a path": ({"prompts": {"../x": "a"}}, "is not the name of a file"),
    "the folder above": ({"prompts": {"..": "a"}}, "is not the name of a file"),
    "bytes": ({"prompts": {"a": "\0"}}, "prompts/a is not a text"),
    "nothing": ({"prompts": {}}, "prompts has no file"),
    "too much": ({"prompts": {"a": "x" * (LARGEST + 1)}}, "at most 131,072"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses(case):
    files, words = REFUSED[case]
    found = dict(refuse_release(make_spec(pins=pins_from({"files": files})), LIMITS))
    assert words in found["files"]


def test_the_configmap_is_of_the_release_alone_and_nobody_may_change_it():
    made = render(SPEC, "models", 4096)
    (config,) = [m for m in made if m["kind"] == "ConfigMap"]
    (found,) = [m for m in made if m["kind"] == "Deployment"]
    assert (config["immutable"], config["data"]) == (True, CONTENT)
    assert config["metadata"]["labels"][RELEASE] == fingerprint_of(digest_of(SPEC))
    volumes = {v["name"]: v for v in found["spec"]["template"]["spec"]["volumes"]}
    assert volumes["config-prompts"]["configMap"]["name"] == config["metadata"]["name"]
    digest = PINS.configs["prompts"].removeprefix("sha256:")
    assert config["metadata"]["name"] == f"{found['metadata']['name']}-prompts-{digest[:10]}"
    # One from elsewhere has the name that others gave it.
    assert volumes["config-other"]["configMap"]["name"] == "other-aaaaaaaaaa"
    group = workload(made)
    assert files_of(group) == [config]
    assert [m["kind"] for m in surroundings(made)] == ["PodDisruptionBudget"]


def test_lines_for_a_shell_make_the_files_before_the_replicas():
    old = workload(render(SPEC, "models", 4096))
    lines = lines_back(hand(old=old))
    kinds = [k for line in lines for k in ("ConfigMap", "Deployment") if f'"kind":"{k}"' in line]
    assert kinds[:2] == ["ConfigMap", "Deployment"]
    assert all("--field-manager=quartermaster-rollout" in x for x in lines if "ConfigMap" in x)


def test_a_release_without_files_stays_one_deployment():
    plain = make_spec(pins=Pins())
    assert workload(render(plain, "models", 4096))["kind"] == "Deployment"
