"""Requests of a day are in a file that was read back before the day goes, or the day stays."""

import json
import re
import stat
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from billing.actions.ingest import ingest
from billing.clients.store import Folder
from billing.drive import archive
from billing.drive.archive import keep_file
from billing.drive.reconciliations import reconcile_due
from billing.drive.retention import drop_parts
from billing.models import ArchivedPart, DroppedPart, UsageEvent
from billing.queries import part_rows
from billing.queries.archive import MANIFEST
from billing.queries.event_parts import EventPart, event_parts
from billing.queries.retention import list_parts
from billing.rules.archive import COLUMNS, SCHEMA
from tenants.base.scope import fleet_scope, scope_of
from tenants.models import AuditEvent
from tests.billing.books import close_month, spend
from tests.billing.factories import batch, usage
from tests.billing.old_days import part_of

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
DOCS = Path(__file__).parents[2] / "docs"
ODD = 'a "quoted", \\ é\n\t, 模\x7f'
pytestmark = pytest.mark.django_db


@pytest.fixture
def at(old_noon):
    return old_noon


@pytest.fixture
def folder(settings, tmp_path):
    settings.QM_USAGE_MONTHS = 3
    settings.QM_USAGE_ARCHIVE = tmp_path
    return tmp_path


@pytest.fixture
def later(acme, globex, gateway, priced, at, folder):
    """When the day may go: three requests of two tenants, one of them with odd texts."""
    spend(gateway, acme, at=at)
    spend(gateway, globex, at=at + MINUTE, deployment_id=None, reason=ODD, itl_ms=None)
    spend(gateway, acme, at=at + 2 * MINUTE, gpus=4, limit_versions=[3, 9], gpu_ms=10)
    for tenant in (acme, globex):
        close_month(tenant, f"{at:%Y-%m}", now=at + 60 * DAY)
    reconcile_due(at + 200 * DAY)
    return at + 200 * DAY


def file_of(folder, at):
    return folder / f"{at:%Y/%m}" / f"{part_of(at)}.parquet"


def why(viewer, at, now):
    with scope_of(viewer):
        return {p.name: p for p in list_parts(viewer, now)}[part_of(at)].why


def gone(at):
    return part_of(at) not in {p.name for p in event_parts()}


def test_a_day_goes_once_it_is_in_a_file_that_was_read_back(later, at, folder, fiona):
    with fleet_scope():
        rows = list(UsageEvent.objects.order_by("event_time", "id").values())
    assert why(fiona, at, later) == ("its file is not written yet (QM_USAGE_ARCHIVE)",)
    drop_parts(later)
    assert gone(at)
    path = file_of(folder, at)
    table = pq.read_table(path)
    told = table.to_pylist()
    for row, found in zip(rows, told, strict=True):
        found |= {name: json.loads(found[name]) for name in ("modifiers", "limit_versions")}
        assert found == row | {"request_id": str(row["request_id"])}
    with fleet_scope():
        assert not DroppedPart.objects.filter(file="").exists(), "the first, which is empty, too"
        dropped = DroppedPart.objects.get(part=part_of(at))
        tried = ArchivedPart.objects.get(part=part_of(at))
        assert dropped.file == tried.file == str(path.relative_to(folder))
        assert dropped.file_sha256 == tried.sha256 == Folder(folder).digest(dropped.file)
        assert dropped.sha256 == tried.content_sha256
        sums = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "gpu_ms")
        assert [getattr(tried, n) for n in sums] == [getattr(dropped, n) for n in sums]
        assert tried.gpu_ms == 700 + 700 + 40
        assert AuditEvent.objects.filter(verb="usage_part.archive", target_id=tried.pk).exists()
    manifest = json.loads(path.with_name(path.name + MANIFEST).read_text())
    assert manifest["sha256"] == dropped.file_sha256
    assert (manifest["rows"], manifest["schema"]) == (3, SCHEMA)


def test_it_is_read_and_written_some_requests_at_a_time(later, at, folder, monkeypatch):
    monkeypatch.setattr(part_rows, "BYTES", 1)
    drop_parts(later)
    assert gone(at), "the digest of the pieces is that of the whole"
    assert pq.ParquetFile(file_of(folder, at)).num_row_groups == 3


def test_it_has_every_column_of_a_request():
    columns = {field.column for field in UsageEvent._meta.concrete_fields}
    assert {name for name, _ in COLUMNS} == columns


def test_files_are_the_workers_alone(later, at, folder):
    drop_parts(later)
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert not list(folder.rglob(".*"))


def documented(page, folder, at):
    """The statement of a page, about the month of the day and this folder."""
    (found,) = re.findall(
        r"\n((?:    .+\n)*    .*read_parquet(?:.*\n)(?:    .+\n)*)", page.read_text()
    )
    month = f"{at:%Y-%m}-01", f"{at + 31 * DAY:%Y-%m}-01"
    for said, meant in zip(("2026-08-01", "2026-09-01"), month, strict=True):
        found = found.replace(said, meant)
    return found.replace("/archive/", f"{folder}/")


def test_the_statements_of_the_documentation_read_it(later, acme, at, folder):
    drop_parts(later)
    found = duckdb.sql(documented(DOCS / "operators/storage.md", folder, at)).fetchall()
    assert sorted(row[2:] for row in found) == [(1, 100, 30), (2, 200, 60)]
    one = documented(DOCS / "finance/usage.md", folder, at)
    one = one.replace("tenant_id = 7", f"tenant_id = {acme.pk}")
    duckdb.sql(one.replace("acme-2026-08.csv", f"{folder}/one.csv"))
    assert duckdb.sql(f"SELECT count(*) FROM '{folder}/one.csv'").fetchall() == [(2,)]


@pytest.mark.parametrize("damage", ["no folder", "nothing may be written", "read back otherwise"])
def test_a_day_without_its_file_stays_and_says_why(
    later, at, folder, fiona, settings, monkeypatch, damage
):
    if damage == "no folder":
        settings.QM_USAGE_ARCHIVE = folder / "not-mounted"
        said = f"there is no folder {folder}/not-mounted: mount it or make it"
    elif damage == "nothing may be written":
        (folder / f"{at:%Y}").write_text("a file where a folder has to be")
        said = "File exists"
    else:
        monkeypatch.setattr(archive, "read_parquet", lambda path: list(read(path))[:-1])
        said = "3 requests were written, and 0 read back"
    of = "billing.queries.retention.event_parts"
    monkeypatch.setattr(of, lambda: [p for p in event_parts() if p.name == part_of(at)])
    for _ in range(2):
        drop_parts(later)
    assert not gone(at)
    (reason,) = why(fiona, at, later)
    assert reason.startswith("its file could not be written: ")
    assert said in reason
    with fleet_scope():
        assert ArchivedPart.objects.get(part=part_of(at)).file == "", "said once"
    assert not list(folder.rglob("*.parquet")), "what was not read back gets no name"
    settings.QM_USAGE_ARCHIVE = folder
    (folder / f"{at:%Y}").is_file() and (folder / f"{at:%Y}").unlink()
    monkeypatch.undo()
    drop_parts(later)
    assert gone(at)


read = archive.read_parquet


def part(at):
    return next(p for p in event_parts() if p.name == part_of(at))


@pytest.mark.parametrize("damage", ["gone", "cut", "manifest"])
def test_a_file_that_is_not_as_it_was_is_written_again(later, at, folder, damage):
    assert keep_file(Folder(folder, is_private=True), part(at))
    path = file_of(folder, at)
    before = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(before[:-1])
    else:
        path.with_name(path.name + MANIFEST).write_text("{}")
    drop_parts(later)
    assert gone(at)
    assert path.read_bytes() == before, "the same requests make the same bytes"


def test_a_file_with_other_requests_than_those_that_go_keeps_the_day(later, at, folder, fiona):
    """The database compares the requests that go with those of the file, whatever was summed."""
    assert keep_file(Folder(folder, is_private=True), part(at))
    with fleet_scope():
        tried = ArchivedPart.objects.get(part=part_of(at))
    other = ArchivedPart(part=tried.part, file=tried.file, sha256=tried.sha256)
    other.content_sha256 = "0" * 64
    other.save()
    drop_parts(later)
    assert not gone(at)
    assert "others: it is written again" in why(fiona, at, later)[0]
    drop_parts(later)
    assert gone(at)


def test_without_the_setting_a_day_goes_as_before_and_names_no_file(later, at, settings):
    settings.QM_USAGE_ARCHIVE = None
    drop_parts(later)
    with fleet_scope():
        assert DroppedPart.objects.get(part=part_of(at)).file == ""


def test_what_else_keeps_a_day_is_said_first_and_no_file_is_written(
    later, at, folder, fiona, gateway, acme
):
    ingest(gateway, batch(usage(acme, at=at)), now=at)
    assert "hours that wait to be rolled up" in why(fiona, at, later)[0]
    drop_parts(later)
    assert not list(folder.rglob(f"{part_of(at)}*"))


def test_no_clock_of_a_worker_and_no_statement_drops_a_young_day(folder, at):
    """`usage_event_between` ends today: every other rule would let it go."""
    now = timezone.now() + 400 * DAY
    (young,) = [p for p in event_parts() if p.name == "usage_event_between"]
    reconcile_due(now)
    assert drop_parts(now) >= 1, "the first part is old"
    assert young in event_parts()
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match="are kept for 3 months at least"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT qm_keep_event_part(%s, 'a rule')", [young.name])


def test_the_page_and_the_api_say_that_a_part_is_young(folder, at, fiona):
    now = timezone.now() + 400 * DAY
    reconcile_due(now)
    with scope_of(fiona):
        found = {p.name: p.why for p in list_parts(fiona, now)}
    assert found["usage_event_between"] == (
        "it ended less than 3 months ago, says the clock of the database",
    )
    assert isinstance(part(at), EventPart)
