"""The folder of exports has each file once: what a killed or frozen worker left is put away."""

from datetime import timedelta
from pathlib import Path

import pytest

from billing.actions.exports import request_export
from billing.drive import exports
from billing.drive.exports import run_due
from billing.models import ExportArtifact, ExportJob
from tenants.base.scope import fleet_scope, scope_of
from tests.billing.factories import NOW, load, make_prices, usage
from tests.billing.test_exports import END, START

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job(acme, gateway, fiona, settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path
    make_prices()
    load(gateway, usage(acme))
    with scope_of(fiona):
        return request_export(fiona, format="csv", starts_at=START, ends_at=END, now=NOW)


def files(folder):
    return sorted(p.name for p in Path(folder).rglob("*") if p.is_file())


def is_one_file(folder):
    with fleet_scope():
        artifact = ExportArtifact.objects.get()
    assert files(folder) == [artifact.filename, f"{artifact.filename}.manifest.json"]


def die(*_args, **_kwargs):
    raise KeyboardInterrupt


def goes_on(job):
    """Another worker, once the claim of the dead one is over."""
    with fleet_scope():
        ExportJob.objects.filter(pk=job.pk).update(claim_until=NOW)
    assert run_due(NOW) == 1


@pytest.mark.parametrize("at", ["ExportArtifact.objects.create", "Folder.write_text", "_tell"])
def test_a_worker_that_was_killed_leaves_no_second_file(job, tmp_path, monkeypatch, at):
    with monkeypatch.context() as patch:
        patch.setattr(f"billing.drive.exports.{at}", die)
        with pytest.raises(KeyboardInterrupt):
            run_due(NOW)
    assert files(tmp_path), "it had its name already"
    goes_on(job)
    is_one_file(tmp_path)


def test_half_a_file_of_a_worker_that_was_killed_goes(job, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", die)
        patch.setattr("pathlib.Path.unlink", lambda *_a, **_k: None)  # kill -9 tidies nothing
        with pytest.raises(KeyboardInterrupt):
            run_due(NOW)
    assert files(tmp_path)[0].endswith(".part")
    goes_on(job)
    is_one_file(tmp_path)


def test_a_frozen_worker_that_comes_back_leaves_its_file_nowhere(job, tmp_path, monkeypatch):
    real = exports._write

    def meanwhile(*given):
        """It froze while it wrote: its claim ended, and another worker made the file."""
        monkeypatch.undo()
        with fleet_scope():
            ExportJob.objects.filter(pk=job.pk).update(claim_until=NOW - timedelta(days=999))
        assert run_due(NOW) == 1
        return real(*given)

    monkeypatch.setattr(exports, "_write", meanwhile)
    assert run_due(NOW) == 0
    is_one_file(tmp_path)
