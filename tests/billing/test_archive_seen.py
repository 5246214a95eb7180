"""Where the files of requests are seen: page, file of the page, API, command line; and digests."""

from datetime import timedelta
from io import StringIO

import pyarrow as pa
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from billing.clients.store import Folder
from billing.clients.tables import read_parquet
from billing.drive.archive import keep_file
from billing.drive.reconciliations import reconcile_due
from billing.drive.retention import drop_parts
from billing.models import DroppedPart
from billing.queries.archive import MANIFEST
from billing.queries.event_parts import event_parts
from billing.queries.retention import what_was_dropped
from billing.rules.archive import json_texts
from billing.rules.retention import goes_at
from tenants.base.scope import fleet_scope, scope_of
from tenants.models import RoleBinding, User
from tests.billing.books import close_month, spend
from tests.billing.factories import viewer
from tests.billing.old_days import part_of
from tests.console.visitors import browser, rows

DAY = timedelta(days=1)
PAGE = "/reconciliation/parts/"
pytestmark = pytest.mark.django_db


@pytest.fixture
def at(old_noon):
    return old_noon


@pytest.fixture
def later(acme, gateway, priced, at, settings, tmp_path, monkeypatch):
    settings.QM_USAGE_MONTHS = 3
    settings.QM_USAGE_ARCHIVE = tmp_path
    spend(gateway, acme, at=at)
    close_month(acme, f"{at:%Y-%m}", now=at + 60 * DAY)
    reconcile_due(at + 200 * DAY)
    of = "billing.queries.retention.event_parts"
    monkeypatch.setattr(of, lambda: [p for p in event_parts() if p.name == part_of(at)])
    return at + 200 * DAY


@pytest.fixture
def dropped(later, at):
    assert drop_parts(later) == 1
    with fleet_scope():
        return DroppedPart.objects.get(part=part_of(at))


@pytest.fixture
def people(db):
    with fleet_scope():
        user = User.objects.create(email="finance@example.test")
        RoleBinding.objects.create(user=user, role="finance")
    return browser(user)


def command(*given):
    """What it says, and whether all was well."""
    out = StringIO()
    try:
        call_command("billing", *given, stdout=out)
    except SystemExit as ended:
        return out.getvalue(), ended.code == 0
    return out.getvalue(), True


def test_page_file_and_api_name_the_file_of_a_dropped_day(dropped, people, finance):
    page = people.get(f"{PAGE}?list=dropped").content.decode()
    assert dropped.file in page
    assert dropped.file_sha256 in page
    (row,) = rows(people.get(f"{PAGE}?list=dropped&format=csv"))
    assert (row["file"], row["file_sha256"]) == (dropped.file, dropped.file_sha256)
    (found,) = finance.get("usage/parts/dropped")["results"]
    assert (found["file"], found["file_sha256"]) == (dropped.file, dropped.file_sha256)


def test_page_file_and_api_name_the_file_of_a_day_that_is_still_there(
    later, at, people, finance, tmp_path
):
    (part,) = [p for p in event_parts() if p.name == part_of(at)]
    assert keep_file(Folder(tmp_path, is_private=True), part)
    page = people.get(PAGE)
    ((kept, *_),) = page.context["parts"]
    assert kept.file in page.content.decode()
    (row,) = rows(people.get(f"{PAGE}?format=csv"))
    (found,) = finance.get("usage/parts")["results"]
    assert row["file"] == found["file"] == kept.file
    assert row["file_sha256"] == found["file_sha256"] == kept.file_sha256
    said, holds = command("archive")
    assert "not dropped yet" in said
    assert holds


def test_the_overview_says_that_a_file_could_not_be_written(later, at, people, settings):
    said = "No file could be written of 1 part of requests"
    settings.QM_USAGE_ARCHIVE /= "not-mounted"
    assert said not in people.get("/").content.decode()
    assert drop_parts(later) == 0
    page = people.get("/").content.decode()
    assert said in page
    assert "mount it or make it" in page
    settings.QM_USAGE_ARCHIVE.mkdir()
    assert drop_parts(later) == 1
    assert said not in people.get("/").content.decode()


def test_the_operator_is_told_the_file_and_a_tenant_is_not(dropped, acme, fiona, at):
    own = viewer("operator", acme)
    for who, told in (fiona, True), (own, False):
        with scope_of(who):
            (gone,) = what_was_dropped(who, at - DAY, at + DAY, acme.pk)
        assert (dropped.file in str(gone)) == told


def test_the_command_reads_every_file_again(dropped, tmp_path):
    said, holds = command("archive")
    assert f"{dropped.file}, 1 requests" in said
    assert "1 files, 0 are not as they were recorded" in said
    assert holds
    assert command("archive", "--folder", str(tmp_path))[1]
    assert command("archive", "--since", "2999-01-01")[0].startswith("0 files")
    assert f"file {dropped.file}, its sha256 {dropped.file_sha256}" in command("retention")[0]


def test_files_are_written_by_hand_and_nothing_is_dropped(later, at, settings, monkeypatch):
    monkeypatch.setattr("billing.management.commands.billing.timezone.now", lambda: later)
    said, holds = command("archive", "--write")
    assert said.startswith(f"{part_of(at)}: has its file")
    assert "may go now, file " in said
    assert holds
    assert part_of(at) in {p.name for p in event_parts()}
    settings.QM_USAGE_ARCHIVE = None
    with pytest.raises(CommandError, match="set it"):
        call_command("billing", "archive", "--write")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("gone", "is gone"),
        ("byte", "has other bytes"),
        ("no manifest", "has no manifest any more"),
        ("manifest", "has no manifest that can be read"),
        ("other manifest", "has the manifest of another file"),
    ],
)
def test_it_says_what_is_wrong_with_a_file(dropped, tmp_path, damage, words):
    path = tmp_path / dropped.file
    manifest = path.with_name(path.name + MANIFEST)
    if damage == "gone":
        path.unlink()
    elif damage == "byte":
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 1
        path.write_bytes(whole)
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text("{" if damage == "manifest" else '{"sha256": "x"}')
    said, holds = command("archive")
    assert f"DIFFERS: {words}" in said
    assert not holds


def test_it_compares_requests_and_not_only_bytes(dropped, tmp_path, monkeypatch):
    def others(path):
        for columns in read_parquet(path):
            yield dict(columns) | {"model": pa.array(["another"])}

    place = "billing.drive.archive_checks.read_parquet"

    monkeypatch.setattr(place, others)
    assert "has other requests than the part had" in command("archive")[0]


def test_without_an_archive_there_is_nothing_to_read(db, settings):
    settings.QM_USAGE_ARCHIVE = None
    with pytest.raises(CommandError, match="set QM_USAGE_ARCHIVE"):
        call_command("billing", "archive")


def test_settings_and_database_mean_the_same_by_three_months(db):
    """Else a part would be due and refused for a day or two at the end of some months."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT at, at + interval '3 months' FROM generate_series("
            "'2026-01-01Z'::timestamptz, '2029-01-01Z', interval '1 day') AS at"
        )
        assert all(goes_at(at, 3) == goes for at, goes in cursor.fetchall())


TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)


@given(texts=st.lists(TEXTS, min_size=1, max_size=20), numbers=st.lists(st.integers(-9, 2**62)))
def test_texts_and_numbers_are_written_as_the_database_writes_them(texts, numbers):
    """Else no file would have the digest that the database makes of the same requests."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT json_build_array(VARIADIC %s::text[])::text", [texts])
        assert f"[{', '.join(json_texts(pa.array(texts)).to_pylist())}]" == cursor.fetchone()[0]
        cells = [*numbers, None]
        cursor.execute("SELECT json_build_array(VARIADIC %s::bigint[])::text", [cells])
        found = json_texts(pa.array(cells, pa.int64())).to_pylist()
        assert f"[{', '.join(found)}]" == cursor.fetchone()[0]
