"""A worker that is killed while a day goes to its file and then away; and workers at once."""

import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection

from billing.drive.reconciliations import reconcile_due
from billing.drive.retention import drop_parts
from billing.models import ArchivedPart, DroppedPart, UsageEvent
from billing.queries.archive import MANIFEST
from billing.queries.event_parts import event_parts
from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent
from tests.billing.books import close_month, spend
from tests.billing.old_days import DAY, drop_beside, old_day, part_of

pytestmark = pytest.mark.django_db(transaction=True)
PARTS = "billing.queries.retention.event_parts"
# Where the worker is killed: before this is called, or with "+" after it was.
STEPS = (
    "billing.drive.archive.read_parquet",  # the file is written, without a name
    "billing.drive.archive.manifest_of",  # it has its name
    "billing.drive.archive.record_file",  # and its manifest
    "billing.drive.archive.record_file+",  # and a record that is not committed
    "billing.drive.retention.drop_part",  # and is now
    "billing.actions.event_retention.record",  # it is written down what was in the part
    "billing.actions.event_retention.record+",  # and who dropped it
    "billing.drive.retention.drop_part+",  # all is done
)
WORKER = """
import os, signal, sys
from datetime import datetime
from importlib import import_module
import django
django.setup()
from billing.drive import retention
from billing.queries import retention as queries

step, part, now = sys.argv[1:]
place, name = step.rstrip("+").rsplit(".", 1)
module = import_module(place)
whole = getattr(module, name)

def dies(*given, **more):
    if step.endswith("+"):
        whole(*given, **more)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(module, name, dies)
parts = queries.event_parts
queries.event_parts = lambda: [p for p in parts() if p.name == part]
retention.drop_parts(datetime.fromisoformat(now))
"""


@pytest.fixture
def at(transactional_db):
    with old_day() as noon:
        yield noon


@pytest.fixture
def old(at, acme, gateway, priced, settings, tmp_path, monkeypatch):
    """That day has two requests and may go, as the only one."""
    settings.QM_USAGE_MONTHS = 3
    settings.QM_USAGE_ARCHIVE = tmp_path
    for _ in range(2):
        spend(gateway, acme, at=at)
    close_month(acme, f"{at:%Y-%m}", now=at + 60 * DAY)
    later = at + 200 * DAY
    reconcile_due(later)
    monkeypatch.setattr(PARTS, lambda: [p for p in event_parts() if p.name == part_of(at)])
    return later


def killed(step, at, later, folder):
    url = urlsplit(os.environ["DATABASE_URL"])
    own = {
        "DATABASE_URL": urlunsplit(url._replace(path="/" + connection.settings_dict["NAME"])),
        "DJANGO_SETTINGS_MODULE": "console.settings",
        "QM_USAGE_MONTHS": "3",
        "QM_USAGE_ARCHIVE": str(folder),
    }
    given = [sys.executable, "-c", WORKER, step, part_of(at), later.isoformat()]
    done = subprocess.run(given, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def stored():
    with fleet_scope():
        return UsageEvent.objects.count()


def whole(at, folder):
    """The day is gone, once, and its file is there, once."""
    with fleet_scope():
        dropped = DroppedPart.objects.get()
        tried = ArchivedPart.objects.get()
        acts = AuditEvent.objects.filter(verb__startswith="usage_part.").order_by("id")
        assert [act.verb for act in acts] == ["usage_part.archive", "usage_part.drop"]
    assert (dropped.requests, dropped.file, dropped.file_sha256) == (2, tried.file, tried.sha256)
    assert {p.name for p in folder.rglob("*") if p.is_file()} == {
        f"{part_of(at)}.parquet",
        f"{part_of(at)}.parquet{MANIFEST}",
    }
    return stored() == 0 and part_of(at) not in {p.name for p in event_parts()}


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_worker_loses_nothing_and_nothing_is_done_twice(old, at, step, tmp_path):
    killed(step, at, old, tmp_path)
    if step == STEPS[-1]:
        assert drop_parts(old) == 0
    else:
        assert stored() == 2, "a day that has not gone is whole"
        assert part_of(at) in {p.name for p in event_parts()}
        with fleet_scope():
            assert not DroppedPart.objects.exists()
        assert drop_parts(old) == 1
    assert whole(at, tmp_path)


def test_workers_beside_each_other_write_and_drop_each_day_once(old, at, tmp_path):
    assert drop_beside(old) == 1
    assert whole(at, tmp_path)
