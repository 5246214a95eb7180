"""A disk that is full: nothing half made gets a name, the reason is told, and later it is made."""

import resource
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from billing.actions.exports import request_export
from billing.drive import exports
from billing.drive.exports import MOST_FAILURES, run_due
from billing.drive.retention import drop_parts
from billing.models import ExportArtifact, ExportJob, FinanceEvent
from billing.queries.event_parts import event_parts
from tenants.base.scope import fleet_scope, scope_of
from tests.billing.factories import NOW, load, make_prices, usage
from tests.billing.old_days import part_of
from tests.billing.test_archive import at, folder, gone, later, why  # noqa: F401  # fixtures
from tests.billing.test_exports import END, START

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@contextmanager
def full_after(size):
    """No file of this process grows beyond so many bytes: as on a full disk, writing fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def place(settings, tmp_path, monkeypatch, acme, gateway):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    make_prices()
    load(gateway, usage(acme))
    return tmp_path


def ask(who, **given):
    with scope_of(who):
        return request_export(who, starts_at=START, ends_at=END, now=NOW, **given)


def files(place):
    return sorted(p.name for p in Path(place).rglob("*") if p.is_file())


def state_of(job):
    with fleet_scope():
        return ExportJob.objects.get(pk=job.pk)


@pytest.mark.parametrize("file_type", ["csv", "parquet", "xlsx"])
def test_a_file_that_finds_no_room_says_why_and_is_made_later(fiona, place, file_type):
    job = ask(fiona, format="focus-1.4", file_type=file_type)
    other = ask(fiona, format="focus-1.4", file_type=file_type)
    with full_after(1_500):
        assert run_due(NOW) == 0
    for one in (job, other):
        found = state_of(one)
        assert found.state == "waiting"
        assert "File too large" in found.why
        assert found.failures == 1
    assert files(place) == []
    assert run_due(NOW + DAY) == 2
    assert state_of(job).why == ""


def test_a_manifest_that_finds_no_room_leaves_no_file_without_one(fiona, place):
    ask(fiona, format="csv")
    assert run_due(NOW) == 1
    data, manifest = sorted((place / "exports").rglob("fleet-*"), key=lambda p: len(p.name))
    size = data.stat().st_size
    assert size < manifest.stat().st_size, "three rows have room where their manifest has none"
    job = ask(fiona, format="csv")
    with full_after(size):
        assert run_due(NOW) == 0
    assert "File too large" in state_of(job).why
    assert len(files(place)) == 2
    assert run_due(NOW + DAY) == 1
    assert len(files(place)) == 4


def test_a_disk_that_stays_full_ends_the_export_and_tells(fiona, place):
    job = ask(fiona, format="focus-1.4", file_type="xlsx")
    now = NOW
    with full_after(1_500):
        for _ in range(MOST_FAILURES):
            run_due(now)
            now += DAY
    assert state_of(job).state == "failed"
    with fleet_scope():
        assert FinanceEvent.objects.filter(kind="export.failed").count() == 1


class OutOfTime(Exception):
    """As a worker's time limit is raised: no kind of error that a pass knows, and no text."""


def test_an_export_that_never_gets_to_its_end_is_given_up(fiona, place, monkeypatch):
    """A worker's time limit is raised in the middle of it, each time anew."""
    job = ask(fiona, format="csv")

    def endless(*_args):
        raise OutOfTime

    monkeypatch.setattr(exports, "_write", endless)
    now = NOW
    for _ in range(MOST_FAILURES):
        with pytest.raises(OutOfTime):
            run_due(now)
        now += DAY
    found = state_of(job)
    assert (found.state, found.failures) == ("failed", MOST_FAILURES)
    assert "OutOfTime" in found.why and "endless" in found.failure
    with fleet_scope():
        assert not ExportArtifact.objects.exists()


def test_requests_stay_while_the_archive_has_no_room(
    later,  # noqa: F811
    at,  # noqa: F811
    folder,  # noqa: F811
    fiona,
    monkeypatch,
):
    of = "billing.queries.retention.event_parts"
    with monkeypatch.context() as patch, full_after(1_000):
        patch.setattr(of, lambda: [p for p in event_parts() if p.name == part_of(at)])
        drop_parts(later)
    assert not gone(at)
    (reason,) = why(fiona, at, later)
    assert "File too large" in reason
    assert files(folder) == []
    drop_parts(later)
    assert gone(at)
