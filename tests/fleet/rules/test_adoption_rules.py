"""Which release declares an edit: exactly the one whose rendering is what was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.rules.adoption import adopted
from fleet.rules.declared import as_live, differences
from fleet.rules.manifests import deployment
from fleet.rules.pods import Part
from fleet.rules.release import Resources, digest_of
from tests.fleet.rules.walk import make_spec

MODEL_LEN = 4096
OLD = make_spec(arguments=("--max-num-seqs=64",), environment={"A": "1"})
INSIDE = "spec.template.spec.containers[vllm]"
FLAGS = st.sampled_from(("--max-num-seqs", "--seed", "--block-size", "--max-model-len"))
ARGUMENTS = st.lists(st.builds("{}={}".format, FLAGS, st.integers(1, 99)), max_size=4).map(tuple)
NAMES, DIGESTS = st.sampled_from(("A", "B", "VLLM_X")), st.sampled_from("def")
SPECS = st.builds(
    make_spec,
    arguments=ARGUMENTS,
    environment=st.dictionaries(NAMES, st.text("xyz1", max_size=3), max_size=3),
    image_digest=DIGESTS.map(lambda letter: "sha256:" + letter * 64),
    resources=st.builds(Resources, st.just("NVIDIA-H100-80GB-HBM3"), st.integers(1, 8),
                        memory=st.sampled_from(("16Gi", "32Gi"))),
)  # fmt: skip


def made(spec):
    """As if it were the content of the old release's Deployment."""
    return deployment(Part(spec, digest_of(OLD)), "models", MODEL_LEN)


def edits_between(one, other):
    return {d.text: d.live for d in differences(made(one), made(other))}


def adopt(edits, running=""):
    return adopted(OLD, made(OLD), edits, running=running, max_model_len=MODEL_LEN)


@given(SPECS)
def test_what_is_adopted_is_what_was_written(spec):
    assert adopt(edits_between(OLD, spec)) == spec


@given(SPECS)
def test_what_leaves_is_scaled_as_it_is(spec):
    live = made(spec)
    assert differences(as_live(made(OLD), live), live) == () or all(
        d.declared is None for d in differences(as_live(made(OLD), live), live)
    )


def test_flags_in_two_words_and_in_another_place_are_adopted():
    words = made(OLD)["spec"]["template"]["spec"]["containers"][0]["args"]
    live = [words[0], "--seed", "7", *words[1:]]
    assert adopt({f"{INSIDE}.args": live}).arguments == ("--seed=7", "--max-num-seqs=64")


def test_a_tag_is_pinned_to_what_runs():
    edits = {f"{INSIDE}.image": "registry.local:5000/vllm:v2"}
    spec = adopt(edits, running="sha256:" + "e" * 64)
    assert (spec.image, spec.image_digest[:9]) == ("registry.local:5000/vllm", "sha256:ee")
    with pytest.raises(ValueError, match="is a tag"):
        adopt(edits)


@pytest.mark.parametrize(
    ("path", "live", "told"),
    [
        (f"{INSIDE}.args", ["org/model", "--seed=1"], "--port=8000.*given to each release"),
        (f"{INSIDE}.livenessProbe.periodSeconds", 3, "no part of a release"),
        ("spec.template.spec.initContainers[spy]", {"name": "spy"}, "no part of a release"),
        (f"{INSIDE}.resources.limits.memory", "32Gi", r"requests\.memory is no part"),
        (f"{INSIDE}.env[B]", {"name": "B", "valueFrom": {"secretKeyRef": {}}}, "no part"),
    ],
)
def test_it_refuses_with_the_field(path, live, told):
    with pytest.raises(ValueError, match=told):
        adopt({path: live})
