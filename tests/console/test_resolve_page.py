"""Resolve on the form of a release: the form comes back with the digest, and all that was typed."""

import threading
from types import SimpleNamespace

import pytest
from django.test import Client

from fleet.models import Release, Resolution
from sandbox.registry.content import Content
from sandbox.registry.server import Server
from tenants.base.scope import fleet_scope
from tests.console.test_fleet_pages import release_form

pytestmark = pytest.mark.django_db
ADDRESS = "/new/release/resolve/"


@pytest.fixture
def olga(scene: SimpleNamespace, client: Client) -> Client:
    client.force_login(scene.olga)
    return client


@pytest.fixture
def registry(settings):
    server = Server(Content())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.QM_REGISTRIES, settings.QM_MODEL_HUB = {"hub.example": server.url}, server.url
    yield server
    server.shutdown()
    server.server_close()


def test_it_fills_in_what_the_tag_means(olga: Client, scene: SimpleNamespace, registry: Server):
    digest = registry.content.put_image("vllm", "0.32", b'{"schemaVersion": 2}')
    typed = release_form(scene, image="hub.example/vllm:0.32", what="image", note="my note")
    answer = olga.post(ADDRESS, typed)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert f'value="hub.example/vllm:0.32@{digest}"' in page
    assert 'value="my note"' in page
    assert "Not checked" in page
    with fleet_scope():
        assert Resolution.objects.latest("pk").asked_by_id == scene.olga.pk


def test_it_shows_on_the_release_how_it_was_resolved(
    olga: Client, scene: SimpleNamespace, registry: Server
):
    commit = registry.content.put_model("org/model", "main", {"config.json": b"{}"})
    answer = olga.post(ADDRESS, release_form(scene, model="org/model", commit="main", what="model"))
    assert f'value="{commit}"' in answer.content.decode()
    made = olga.post("/new/release/", release_form(scene, model="org/model", commit=commit))
    page = olga.get(made["Location"]).content.decode()
    assert "from main by olga@example.test" in page
    assert "Its digest was given by hand." in page


def test_it_says_what_is_wrong_and_keeps_what_was_typed(
    olga: Client, scene: SimpleNamespace, registry: Server
):
    typed = release_form(scene, image="elsewhere.example/vllm:1", what="image", note="my note")
    answer = olga.post(ADDRESS, typed)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "elsewhere.example is no registry that this console may ask (hub.example)" in page
    assert 'value="my note"' in page
    assert registry.asked == []


def test_it_takes_what_is_kept_while_no_registry_answers(
    olga: Client, scene: SimpleNamespace, registry: Server
):
    digest = registry.content.put_image("vllm", "0.32", b'{"schemaVersion": 2}')
    template = b"{{ messages }}"
    commit = registry.content.put_model("org/model", "main", {"chat_template.jinja": template})
    image, model = {"image": "hub.example/vllm:0.32"}, {"model": "org/model", "commit": "main"}
    olga.post(ADDRESS, release_form(scene, **image, what="image"))
    olga.post(ADDRESS, release_form(scene, **model, what="model"))
    registry.content.put_image("vllm", "0.32", b'{"schemaVersion": 2, "moved": true}')
    registry.asked.clear()
    page = olga.post(ADDRESS, release_form(scene, **image, what="kept-image")).content.decode()
    assert f'value="hub.example/vllm:0.32@{digest}"' in page
    page = olga.post(ADDRESS, release_form(scene, **model, what="kept-model")).content.decode()
    assert f'value="{commit}"' in page
    assert 'name="chat_template_digest" value="sha256:' in page
    unknown = release_form(scene, image="hub.example/vllm:0.33", what="kept-image")
    refused = olga.post(ADDRESS, unknown)
    assert refused.status_code == 422
    assert "Nobody has resolved hub.example/vllm:0.33 here" in refused.content.decode()
    assert registry.asked == []


def test_it_resolves_the_tokenizer_that_the_arguments_name(
    olga: Client, scene: SimpleNamespace, registry: Server
):
    registry.content.put_model("org/model", "main", {"config.json": b"{}"})
    words = registry.content.put_model("org/words", "main", {"tokenizer.json": b"{}"})
    typed = release_form(scene, model="org/model", commit="main", what="model")
    page = olga.post(ADDRESS, typed | {"arguments": "--tokenizer=org/words"}).content.decode()
    assert f'name="tokenizer_commit" value="{words}"' in page
    assert "of org/words, from main" in page


def test_it_resolves_for_nobody_who_may_not_propose(
    client: Client, scene: SimpleNamespace, registry: Server
):
    client.force_login(scene.vic)
    answer = client.post(ADDRESS, release_form(scene, image="hub.example/vllm:1", what="image"))
    assert answer.status_code == 403
    assert registry.asked == []
    with fleet_scope():
        assert not Release.objects.filter(note="a try").exists()
