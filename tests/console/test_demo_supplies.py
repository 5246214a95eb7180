"""The demo's releases are made of what its registry answered, each asked for once."""

import json
import threading

import pytest

from console.demo.rollouts import STANDIN, TO_TRY
from console.demo.supplies import DemoRelease, Supplies
from fleet.models import Resolution
from sandbox.engines.images import CATALOGUE, table_entries
from sandbox.registry.content import catalogue
from sandbox.registry.server import Server
from tenants.base.scope import fleet_scope
from tenants.errors import Unavailable
from tenants.rules.access import system_viewer

pytestmark = pytest.mark.django_db


@pytest.fixture
def registry(settings):
    server = Server(catalogue())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.QM_REGISTRIES = {"registry.local": server.url}
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def supplies(tmp_path):
    table = tmp_path / "images.json"
    table.write_text(json.dumps({"images": table_entries()}))
    return Supplies(table, system_viewer("demo"))


def test_it_resolves_each_image_and_the_model_once(registry: Server, supplies: Supplies):
    supplies.resolve(STANDIN)
    supplies.resolve(STANDIN, *(release for releases in TO_TRY.values() for release in releases))
    wanted = CATALOGUE["standin-0.32"]
    assert supplies.image(STANDIN) == f"{wanted.repo}:{wanted.tag}@{wanted.digest}"
    assert supplies.model()["commit"].startswith("sha256:")
    assert supplies.model()["chat_template_digest"].startswith("sha256:")
    manifests = [path for path in registry.asked if "/manifests/" in path]
    assert len(manifests) == len(set(manifests))
    with fleet_scope():
        assert Resolution.objects.filter(kind="model").count() == 1


def test_it_says_which_image_the_nodes_cannot_pull(registry: Server, supplies: Supplies):
    with pytest.raises(Unavailable, match="has no image nothing 9"):
        supplies.resolve(DemoRelease("nothing", "9", "never made"))
