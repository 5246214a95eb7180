"""Tokenizer, code and chat template of a model: found once at its commit, kept, known offline."""

import hashlib
import json
import threading

import pytest

from fleet.actions import resolutions as actions
from fleet.actions.releases import create_release
from fleet.models import Resolution
from fleet.queries.releases import compare_releases, get_release
from fleet.queries.resolutions import recall_image, recall_model
from fleet.rules.artifacts import compare_parts, template_of, tokenizer_digest
from sandbox.registry.content import Content
from sandbox.registry.server import Server
from tenants.base.scope import fleet_scope
from tenants.errors import Forbidden, Invalid, NotFound
from tests.fleet.makers import make_cluster, make_service

pytestmark = pytest.mark.django_db
TEMPLATE = b"{{ messages }}"
FILES = {
    "config.json": b'{"architectures": ["X"]}',
    "tokenizer.json": b'{"model": {}}',
    "tokenizer_config.json": json.dumps({"chat_template": "in the configuration"}).encode(),
    "w.safetensors": b"w" * 64,
}
OF_TEMPLATE = "sha256:" + hashlib.sha256(TEMPLATE).hexdigest()


@pytest.fixture(autouse=True)
def scope(db):
    with fleet_scope():
        yield


@pytest.fixture
def registry(settings):
    server = Server(Content())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.QM_REGISTRIES = {"hub.example": server.url}
    settings.QM_MODEL_HUB = server.url
    yield server
    server.shutdown()
    server.server_close()


def resolve(viewer, name="org/model", revision="main", tokenizer=""):
    return actions.keep(viewer, actions.ask_model(viewer, name, revision, tokenizer))


def parts_of(row):
    return {p["part"]: p for p in row.parts}


def test_it_finds_the_parts_of_a_model_at_its_commit(registry, olga):
    files = FILES | {"chat_template.jinja": TEMPLATE}
    commit = registry.content.put_model("org/model", "main", files)
    found = parts_of(resolve(olga.viewer))
    assert found.keys() == {"tokenizer", "chat_template"}
    assert found["tokenizer"]["pinned"] == commit
    assert found["tokenizer"]["files"] == ["tokenizer.json", "tokenizer_config.json"]
    assert (found["chat_template"]["pinned"], found["chat_template"]["files"]) == (
        OF_TEMPLATE,
        ["chat_template.jinja"],
    )


def test_it_pins_a_tokenizer_and_code_of_other_repositories(registry, olga):
    content = registry.content
    config = {"auto_map": {"AutoModel": "org/code--modeling.Model"}}
    content.put_model("org/model", "main", FILES | {"config.json": json.dumps(config).encode()})
    code = content.put_model("org/code", "main", {"modeling.py": b"class Model: ..."})
    other = content.put_model("org/words", "v2", {"tokenizer.json": b"{}"})
    found = parts_of(resolve(olga.viewer, tokenizer="org/words@v2"))
    tokenizer, coded = found["tokenizer"], found["code"]
    assert (tokenizer["name"], tokenizer["label"], tokenizer["pinned"]) == (
        "org/words", "v2", other)  # fmt: skip
    assert (coded["name"], coded["pinned"], coded["files"]) == ("org/code", code, ["modeling.py"])


def test_it_pins_code_that_lies_beside_the_weights(registry, olga):
    config = json.dumps({"auto_map": {"AutoModel": "modeling.Model"}}).encode()
    files = FILES | {"config.json": config, "modeling.py": b"class Model: ..."}
    commit = registry.content.put_model("org/model", "main", files)
    assert parts_of(resolve(olga.viewer))["code"]["pinned"] == commit


def test_it_resolves_a_model_that_is_an_artifact_of_a_registry(registry, olga):
    digest = registry.content.put_artifact(
        "models/tiny", "1", FILES | {"chat_template.jinja": TEMPLATE}
    )
    row = resolve(olga.viewer, "hub.example/models/tiny", "1")
    assert (row.name, row.label, row.pinned) == ("hub.example/models/tiny", "1", digest)
    assert row.answer["weights"] == 64
    assert parts_of(row)["chat_template"]["pinned"] == OF_TEMPLATE
    registry.content.put_image("vllm", "1", b'{"schemaVersion": 2}')
    with pytest.raises(Invalid, match="is no model"):
        actions.ask_model(olga.viewer, "hub.example/vllm", "1")


def test_it_repeats_a_resolution_without_asking_anybody(registry, olga, vic):
    digest = registry.content.put_image("vllm", "1", b'{"schemaVersion": 2}')
    commit = registry.content.put_model("org/model", "main", FILES)
    image = actions.keep(olga.viewer, actions.ask_image(olga.viewer, "hub.example/vllm:1"))
    model = resolve(olga.viewer)
    registry.content.put_model("org/model", "main", FILES | {"config.json": b"{}"})
    registry.shutdown()
    registry.asked.clear()
    again = recall_image(olga.viewer, "hub.example/vllm:1")
    assert (again.id, again.pinned) == (image.pk, digest)
    again = recall_model(olga.viewer, "org/model", "main")
    assert (again.id, again.pinned, list(again.parts)) == (model.pk, commit, model.parts)
    assert recall_model(olga.viewer, "org/model", commit).id == model.pk
    assert registry.asked == []
    assert Resolution.objects.count() == 2
    with pytest.raises(NotFound, match="Nobody has resolved org/other:main here"):
        recall_model(olga.viewer, "org/other", "main")
    with pytest.raises((Forbidden, NotFound)):
        recall_model(vic.viewer, "org/model", "main")


def make(viewer, service, **model):
    return create_release(
        viewer, service.pk, model=model, image="hub.example/vllm@sha256:" + "d" * 64
    )


def test_it_refuses_a_chat_template_that_the_commit_does_not_have(registry, olga):
    files = FILES | {"chat_template.jinja": TEMPLATE}
    commit = registry.content.put_model("org/model", "main", files)
    resolve(olga.viewer)
    service = make_service(cluster=make_cluster())
    with pytest.raises(Invalid) as refusal:
        make(olga.viewer, service, name="org/model", commit=commit,
             chat_template_digest="sha256:" + "0" * 64)  # fmt: skip
    assert "resolve the model again" in refusal.value.fields["chat_template_digest"]
    made = make(olga.viewer, service, name="org/model", commit=commit,
                chat_template_digest=OF_TEMPLATE)  # fmt: skip
    assert get_release(olga.viewer, made.pk).chat_template_digest == OF_TEMPLATE


def test_it_shows_on_a_path_what_lies_there(registry, olga):
    digest = registry.content.put_artifact("models/tiny", "1", FILES)
    row = resolve(olga.viewer, "hub.example/models/tiny", "1")
    made = make(olga.viewer, make_service(cluster=make_cluster()), name="/models/x", commit=digest)
    assert get_release(olga.viewer, made.pk).model_resolution.id == row.pk


def test_it_tells_which_parts_of_two_releases_differ(registry, olga):
    service, content = make_service(cluster=make_cluster()), registry.content
    made = []
    for files in (FILES, FILES | {"w.safetensors": b"v"}, FILES | {"tokenizer.json": b"{}"}):
        commit = content.put_model("org/model", "main", files)
        resolve(olga.viewer)
        made.append(make(olga.viewer, service, name="org/model", commit=commit).pk)
    weights = compare_releases(olga.viewer, made[0], made[1])
    assert not any("tokens are counted" in text for text in weights.visible)
    tokens = compare_releases(olga.viewer, made[1], made[2])
    assert any("tokens are counted in another way" in text for text in tokens.visible)


def test_it_names_one_digest_for_the_same_files_only():
    files = {"tokenizer.json": "a", "w.safetensors": "b"}
    assert tokenizer_digest(files) == tokenizer_digest(files | {"w.safetensors": "c"})
    assert tokenizer_digest(files)[0] != tokenizer_digest({"tokenizer.json": "x"})[0]
    assert tokenizer_digest({"tokenizer.json": ""}) == ("", ("tokenizer.json",))
    assert tokenizer_digest({}) == ("", ())


def test_it_reads_a_template_as_the_engine_does():
    configured = json.dumps({"chat_template": "b"}).encode()
    both = {"chat_template.jinja": b"a", "tokenizer_config.json": configured}
    assert template_of(both)[1] == "chat_template.jinja"
    assert template_of({"tokenizer_config.json": configured})[1] == "tokenizer_config.json"
    several = json.dumps({"chat_template": [{"name": "default", "template": "b"}]}).encode()
    assert template_of({"tokenizer_config.json": several})[0].startswith("sha256:")
    assert template_of({"tokenizer_config.json": b"no JSON"}) == ("", "")


def test_it_says_nothing_about_parts_that_are_not_known_of_both():
    known = [{"part": "tokenizer", "digest": "a"}]
    assert list(compare_parts(known, [])) == []
    assert len(list(compare_parts(known, [{"part": "tokenizer", "digest": "b"}]))) == 1
    code, other = ([{"part": "code", "digest": d}] for d in "ab")
    assert list(compare_parts(code, other)) == ["code: other code of the model runs"]
