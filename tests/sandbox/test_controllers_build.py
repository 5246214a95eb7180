"""Others' controllers: what pins their sources, and where the results lie. None is built."""

import json
import shutil

import pytest

from sandbox.controllers import build
from sandbox.controllers.queues import RealQueues


@pytest.fixture(params=build.ALL)
def controller(request):
    return build.ALL[request.param]


def test_its_sources_are_pinned_with_checksums(controller):
    module = (controller.sources / "go.mod").read_text()
    assert f"tool {controller.package}\n" in module
    assert "replace" not in module
    sums = (controller.sources / "go.sum").read_text()
    assert f"{controller.module} {controller.version} h1:" in sums


def test_each_set_of_sources_has_a_folder_of_its_own(controller, tmp_path, monkeypatch):
    before = controller.bin_dir
    assert len({c.bin_dir for c in build.ALL.values()}) == len(build.ALL)
    shutil.copytree(controller.sources, tmp_path / controller.folder)
    monkeypatch.setattr(build, "HERE", tmp_path)
    assert controller.bin_dir == before
    with (tmp_path / controller.folder / "go.sum").open("a") as out:
        out.write("\n")
    assert controller.bin_dir != before


def test_what_is_built_already_is_taken(controller, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "cache", lambda: tmp_path)
    controller.bin_dir.mkdir(parents=True)
    lines = []
    assert build.ensure(controller, lambda *line: lines.append(line)) == controller.bin_dir
    ((stage, percent, _, text),) = lines
    assert (stage, percent) == (controller.folder, 100.0)
    assert text == f"{controller.name} {controller.version} is built"


def test_it_names_what_it_does_not_know(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["build", "volcano"])
    with pytest.raises(SystemExit):
        build.main()
    assert "unknown: volcano" in capsys.readouterr().err


WEBHOOK = """
kind: MutatingWebhookConfiguration
metadata: {name: mutating-webhook-configuration}
webhooks:
- {name: mpod.kb.io, clientConfig: {service: {name: x, namespace: y, path: /mutate--v1-pod}}}
- {name: mjob.kb.io, clientConfig: {service: {name: x, namespace: y, path: /mutate-batch-v1-job}}}
"""
LEFT_OUT = {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["kube-system"]}]}


def test_webhooks_of_kueue_are_asked_for_by_its_service_and_keep_their_scope(tmp_path):
    scopes = {"webhooks": [{"name": "mpod.kb.io", "namespaceSelector": LEFT_OUT}]}
    (tmp_path / "webhooks.yaml").write_text(WEBHOOK)
    (tmp_path / "scopes.yaml").write_text(json.dumps({"patches": [{"patch": json.dumps(scopes)}]}))
    found = RealQueues(cluster=None, bin=tmp_path, ports={"webhook": 7})
    (body,) = found._webhooks()
    assert body["metadata"]["name"] == "kueue-mutating-webhook-configuration"
    pod, job = body["webhooks"]
    assert pod["clientConfig"]["service"] == {
        "name": "kueue-webhook-service",
        "namespace": "kueue-system",
        "path": "/mutate--v1-pod",
        "port": 7,
    }
    assert pod["namespaceSelector"] == LEFT_OUT
    assert "namespaceSelector" not in job
