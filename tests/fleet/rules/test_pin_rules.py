"""Files, secrets, adapters and the data policy of a release: pinned, rendered, compared."""

from dataclasses import replace

import pytest

from fleet.rules.differences import compare, kv_reasons, visible_to_clients
from fleet.rules.kv_layout import layout_of, policy_of
from fleet.rules.manifests import render
from fleet.rules.pinning import Limits, refuse_release
from fleet.rules.pins import Adapter, Pins, pins_from, refuse_place, served_names, stored
from fleet.rules.release import ModelPin, canonical, digest_of
from tests.fleet.rules.walk import make_spec

LIMITS = Limits(max_model_len=4096, largest_node=8)
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
ADAPTER = Adapter("polite", "/adapters/polite", A)
WHOLE = Pins({"prompts": A}, {"hub": B}, (ADAPTER,), ("eu-1", "eu-2"), True)
LORA = ("--enable-lora",)


def test_a_release_without_pins_keeps_the_digest_that_it_had():
    assert "pins" not in canonical(make_spec())
    assert digest_of(make_spec()) == digest_of(make_spec(pins=pins_from({})))


CHANGES = {
    "a file": {"configs": {"prompts": A}},
    "another content": {"configs": {"prompts": B}},
    "a secret": {"secrets": {"hub": A}},
    "an adapter": {"adapters": (ADAPTER,)},
    "a region": {"regions": ("eu-1",)},
    "confidential": {"confidential": True},
}


def test_each_pin_is_in_the_digest():
    found = {digest_of(make_spec(pins=Pins(**change))) for change in CHANGES.values()}
    assert len(found | {digest_of(make_spec())}) == len(CHANGES) + 1


def test_it_is_stored_and_read_as_the_same():
    assert pins_from(stored(WHOLE)) == WHOLE
    assert list(refuse_release(make_spec(arguments=LORA, pins=WHOLE), LIMITS)) == []
    with pytest.raises(ValueError, match="no adaptors"):
        pins_from({"adaptors": []})


REFUSED = {
    "a file without a digest": (Pins({"prompts": "latest"}), "configs", "is not pinned"),
    "no name": (Pins({"Big File": A}), "configs", "small letters"),
    "a secret without a digest": (Pins(secrets={"hub": ""}), "secrets", "hub-<the first 10>"),
    "many files": (Pins({f"f{i}": A for i in range(17)}), "configs", "more than 16"),
    "an adapter of no digest": (
        Pins(adapters=(replace(ADAPTER, digest="main"),)), "adapters", "is not pinned"),
    "an adapter called as the service": (
        Pins(adapters=(replace(ADAPTER, name="chat"),)), "adapters", "is served already"),
    "two of one name": (Pins(adapters=(ADAPTER, ADAPTER)), "adapters", "is served already"),
    "a name of spaces": (
        Pins(adapters=(replace(ADAPTER, name="a b"),)), "adapters", "not a name that requests"),
    "an adapter of the hub": (
        Pins(adapters=(replace(ADAPTER, path="org/adapter"),)), "adapters", "not a path"),
    "no region": (Pins(regions=("Europe!",)), "regions", "not the name of a region"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_what_is_not_pinned(case):
    pins, field, words = REFUSED[case]
    found = list(refuse_release(make_spec(arguments=LORA, pins=pins), LIMITS))
    assert [(f, s) for f, s in found if f == field and words in s], found


def test_adapters_need_an_engine_that_loads_them():
    ((field, told),) = refuse_release(make_spec(pins=Pins(adapters=(ADAPTER,))), LIMITS)
    assert (field, told) == ("adapters", "1 adapters need --enable-lora among the arguments")


def test_it_renders_objects_by_their_content_and_adapters_by_name():
    pod = render(make_spec(arguments=LORA, pins=WHOLE), "models", 4096)[1]["spec"]["template"]
    volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
    assert volumes["config-prompts"]["configMap"] == {"name": "prompts-" + "a" * 10}
    assert volumes["secret-hub"]["secret"] == {"secretName": "hub-" + "b" * 10}
    container = pod["spec"]["containers"][0]
    places = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert places == {
        "shm": "/dev/shm",
        "config-prompts": "/etc/config/prompts",
        "secret-hub": "/etc/secret/hub",
    }
    at = container["args"].index("--lora-modules")
    assert container["args"][at + 1] == '{"name": "polite", "path": "/adapters/polite"}'
    assert served_names("chat", WHOLE) == ("chat", "polite")


def test_it_explains_each_pin_that_changes():
    changes = compare(make_spec(), make_spec(pins=WHOLE))
    assert [(c.part, c.name) for c in changes] == [
        ("files", "prompts"),
        ("secrets", "hub"),
        ("adapters", "polite"),
        ("data policy", "regions"),
        ("data policy", "confidential"),
    ]
    assert all(c.means for c in changes)
    told = visible_to_clients(changes)
    assert [t.partition(":")[0] for t in told] == ["polite", "regions", "confidential"]
    assert kv_reasons(changes) == []


PLACES = {
    "anywhere": (Pins(), "us-1", False, ""),
    "in its region": (Pins(regions=("eu-1",)), "eu-1", False, ""),
    "elsewhere": (Pins(regions=("eu-1",)), "us-1", False, "allows eu-1, and East is in us-1"),
    "nowhere known": (Pins(regions=("eu-1",)), "", False, "no region that is known"),
    "open cards": (Pins(confidential=True), "eu-1", False, "is not said to have any"),
    "closed cards": (Pins(confidential=True), "eu-1", True, ""),
}


@pytest.mark.parametrize("case", PLACES)
def test_it_keeps_a_release_where_its_data_may_be(case):
    pins, region, confidential, words = PLACES[case]
    told = refuse_place(pins, region, confidential, "East")
    assert words in told
    assert bool(told) == bool(words)


def test_one_layout_is_one_meaning_of_blocks():
    same = layout_of(make_spec())
    assert layout_of(make_spec(arguments=("--max-num-seqs=8",), pins=WHOLE)) == same
    others = {
        layout_of(make_spec(arguments=("--block-size=32",))),
        layout_of(make_spec(model=ModelPin("org/model", "b" * 40))),
        layout_of(make_spec(image_digest=B)),
    }
    assert len(others | {same}) == 4


def test_it_says_what_engines_do_with_blocks():
    assert list(policy_of(make_spec())) == [
        "common beginnings are cached, named by sha256 with the tenant's salt",
        "blocks never leave their engine",
    ]
    given = ("--no-enable-prefix-caching", "--kv-offloading-size=8", "--kv-transfer-config={}")
    assert list(policy_of(make_spec(arguments=given))) == [
        "no beginning of a prompt is cached",
        "8 GiB of blocks may lie in the memory of the host",
        "blocks move by --kv-transfer-config",
    ]
