"""Pages of exports: receivers and their secrets, delivering again, numbers of accounts."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from billing.drive.exports import run_due
from billing.models import ExportDelivery, ExportDestination, ExportSchedule, LedgerAccount
from tenants.base.scope import fleet_scope
from tests.console.test_money_pages import browser

pytestmark = pytest.mark.django_db


@pytest.fixture
def fin(scene):
    return browser(scene.fin)


def count(model, **only):
    with fleet_scope():
        return model.objects.filter(**only).count()


def make_receiver(fin, **changes):
    form = fin.get("/new/export-receiver/").context["form"]
    given = {"name": "SAP", "url": "https://sap.example.com/in", "method": "PUT", "tenant": ""}
    return fin.post("/new/export-receiver/", given | {"once": form.initial["once"]} | changes)


def test_it_shows_a_receivers_secret_once(fin):
    answer = make_receiver(fin)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    secret = re.search(r"whsec_[A-Za-z0-9+/=]{44}", answer.content.decode())[0]
    assert b"kept encrypted" in answer.content
    once = answer.wsgi_request.POST["once"]
    assert make_receiver(fin, once=once).status_code == 409
    assert count(ExportDestination, name="SAP") == 1
    with fleet_scope():
        pk = ExportDestination.objects.get(name="SAP").pk
    assert secret not in fin.get(f"/exports/receivers/{pk}/").content.decode()
    once = fin.get(f"/exports/receivers/{pk}/").context["once"]
    renewed = fin.post(f"/exports/receivers/{pk}/renew/", {"once": once}).content.decode()
    assert "whsec_" in renewed and secret not in renewed
    assert fin.post(f"/exports/receivers/{pk}/renew/", {"once": once}).status_code == 409


def test_it_says_what_is_wrong_with_an_address(fin):
    answer = make_receiver(fin, url="https://10.0.0.8/in")
    assert answer.status_code == 422
    assert b"10.0.0.8 is not a public address" in answer.content
    assert count(ExportDestination, name="SAP") == 0


def test_it_changes_a_receiver(fin, scene):
    at = f"/exports/receivers/{scene.receiver.pk}/"
    given = fin.get(at).context["form"].initial | {"url": "https://other.example.com/"}
    assert fin.post(at, given).status_code == 302
    assert fin.post(at, given).status_code == 412, "somebody else was faster"
    assert count(ExportDestination, url="https://other.example.com/") == 1


BUCKET = {
    "name": "Archive", "url": "https://s3.example.com/usage", "method": "S3",
    "region": "eu-central-1", "access_key": "AKIATEST", "secret_key": "of the store alone",
}  # fmt: skip


def test_a_buckets_key_is_typed_in_and_never_shown(fin):
    answer = make_receiver(fin, **BUCKET)
    assert answer.status_code == 302
    with fleet_scope():
        pk = ExportDestination.objects.get(name="Archive").pk
    page = fin.get(f"/exports/receivers/{pk}/").content.decode()
    assert "AKIATEST" in page and "of the store alone" not in page
    assert "AKIATEST" in fin.get("/exports/receivers/").content.decode()
    assert make_receiver(fin, **BUCKET | {"secret_key": ""}).status_code == 422


def test_a_bucket_gets_another_key(fin, scene):
    at = f"/exports/receivers/{scene.bucket.pk}/"
    with fleet_scope():
        before = bytes(ExportDestination.objects.get(pk=scene.bucket.pk).sealed)
    once = fin.get(at).context["once"]
    short = fin.post(at + "renew/", {"once": once, "secret_key": "short"})
    assert short.status_code == 422
    assert b"Give the secret access key" in short.content
    once = short.context["once"]
    assert fin.post(at + "renew/", {"once": once, "secret_key": "a longer one"}).status_code == 302
    with fleet_scope():
        assert bytes(ExportDestination.objects.get(pk=scene.bucket.pk).sealed) != before


def test_a_single_file_goes_to_a_receiver_as_well(fin, scene):
    given = {
        "format": "csv", "file_type": "csv", "tenant": "", "first": "2026-11-01",
        "last": "2026-11-02", "destination": scene.bucket.pk,
    }  # fmt: skip
    assert fin.post("/exports/", given).status_code == 302
    assert run_due(timezone.now()) == 1
    assert count(ExportDelivery, destination=scene.bucket) == 1
    assert b"Deliver to" not in browser(scene.watcher).get("/exports/").content


def test_it_delivers_by_a_button_and_shows_the_tries(fin, scene):
    at = f"/exports/{scene.export.pk}/"
    page = fin.get(at).content.decode()
    assert "It answered 503" in page
    assert "ledger.example.com" in page
    again = fin.post(at + "deliver/", {"destination": scene.receiver.pk})
    assert again.status_code == 422
    assert b"on its way to the ledger already" in again.content
    with fleet_scope():
        ExportDelivery.objects.update(state="failed")
    assert fin.post(at + "deliver/", {"destination": scene.receiver.pk}).status_code == 302
    assert count(ExportDelivery, job=scene.export) == 2


def test_it_schedules_a_dataset_to_a_receiver(fin, scene):
    given = {
        "name": "Invoices", "format": "focus-1.4-invoice-detail", "file_type": "parquet",
        "tenant": "", "local_time": "02:00", "time_zone": "UTC",
        "destination": scene.receiver.pk,
    }  # fmt: skip
    assert fin.post("/new/export-schedule/", given).status_code == 302
    assert count(ExportSchedule, destination=scene.receiver) == 1
    assert b"the ledger" in fin.get("/exports/").content


def test_it_changes_and_removes_a_schedule(fin, scene):
    at = f"/exports/schedules/{scene.schedule.pk}/"
    given = fin.get(at).context["form"].initial | {
        "name": "finance, monthly", "rhythm": "monthly", "day": 2, "local_time": "03:30",
    }  # fmt: skip
    assert fin.post(at, given | {"day": 29}).status_code == 422
    assert fin.post(at, given | {"rhythm": "weekly", "day": 8}).status_code == 422
    assert fin.post(at, given).status_code == 302
    late = fin.post(at, given)
    assert (late.status_code, b"Somebody else changed this" in late.content) == (422, True)
    assert b"on day 2 of each month, 03:30 Europe/Amsterdam" in fin.get("/exports/").content
    assert browser(scene.watcher).get(at).status_code in (403, 404)
    assert browser(scene.mallory).post(at + "remove/").status_code in (403, 404)
    assert fin.post(at + "remove/").status_code == 302
    assert count(ExportSchedule, name="finance, monthly") == 0


def test_it_takes_the_days_of_the_tenants_zone(fin, scene):
    with fleet_scope():
        zone = scene.tenants[0].time_zone
    given = {
        "format": "chargeback", "file_type": "csv", "tenant": scene.tenants[0].slug,
        "first": "2026-11-01", "last": "2026-11-02",
    }  # fmt: skip
    assert fin.post("/exports/", given).status_code == 302
    job = fin.get("/exports/").context["jobs"][0][0]
    assert job.starts_at == datetime(2026, 11, 1, tzinfo=ZoneInfo(zone))
    assert run_due(timezone.now()) == 1


def test_it_gives_numbers_to_accounts(fin, scene):
    at = "/ledger-accounts/bank/"
    given = {"bank-number": "1800", "bank-name": "Main bank", "bank-version": "0"}
    assert fin.post(at, given).status_code == 302
    assert count(LedgerAccount, number="1800") == 1
    assert fin.post(at, given).status_code == 412
    wrong = fin.post(at, given | {"bank-number": ""})
    assert wrong.status_code == 422
    assert browser(scene.watcher).post(at, given).status_code in (403, 404)


def test_a_stranger_finds_no_receiver_and_no_delivery(scene):
    mallory = browser(scene.mallory)
    for at in (f"/exports/receivers/{scene.receiver.pk}/", f"/exports/{scene.export.pk}/"):
        assert mallory.get(at).status_code in (403, 404), at
    assert mallory.post(f"/exports/{scene.export.pk}/deliver/").status_code in (403, 404)
    assert mallory.get("/ledger-accounts/").status_code in (403, 404)
