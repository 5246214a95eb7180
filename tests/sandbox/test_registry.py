"""The small registry and model repository serve what the sandbox can pull."""

import hashlib
import threading

import httpx
import pytest

from sandbox.engines import tiny_model
from sandbox.engines.images import CATALOGUE
from sandbox.registry.content import catalogue
from sandbox.registry.server import Server


@pytest.fixture
def registry():
    server = Server(catalogue())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        yield http
    server.shutdown()
    server.server_close()


def test_it_gives_each_tag_the_digest_that_nodes_pull(registry: httpx.Client):
    for image in CATALOGUE.values():
        path = f"/v2/{image.repo.partition('/')[2]}/manifests/"
        by_tag = registry.get(path + image.tag)
        assert by_tag.headers["docker-content-digest"] == image.digest
        assert "sha256:" + hashlib.sha256(by_tag.content).hexdigest() == image.digest
        assert registry.head(path + image.digest).status_code == 200


def test_it_serves_the_tiny_model_by_commit(registry: httpx.Client):
    found = registry.get("/api/models/sandbox/tiny/revision/main").json()
    config = registry.get(f"/sandbox/tiny/resolve/{found['sha']}/config.json").text
    assert config == tiny_model.files()["config.json"]
    assert registry.get("/api/models/sandbox/tiny/revision/other").status_code == 404
