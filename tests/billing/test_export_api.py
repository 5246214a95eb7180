"""The API of datasets, receivers, deliveries and ledger numbers."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.drive.deliveries import deliver_due
from billing.drive.exports import run_due
from tests.billing.receiver import receiver
from tests.billing.test_api import data

__all__ = ["data"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def door(settings):
    settings.QM_ALLOW_PRIVATE_DELIVERY = True
    with receiver() as server:
        yield server


def month(now):
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return {"starts_at": first.isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat()}


@pytest.mark.usefixtures("data")
def test_it_delivers_and_delivers_again(finance, door):
    now = timezone.now()
    made = finance("post", "export-destinations", {"name": "SAP", "url": door.url})
    assert made.status_code == 201, made.content
    receiver_id = made.json()["id"]
    assert made.json()["secret"].startswith("whsec_")
    assert "secret" not in finance.get(f"export-destinations/{receiver_id}")
    asked = finance(
        "post", "exports", {"format": "chargeback", "destination_id": receiver_id} | month(now)
    )
    assert asked.status_code == 202, asked.content
    at = f"exports/{asked.json()['id']}/deliveries"
    assert run_due(timezone.now()) == 1
    door.answers = [(503, {})]
    deliver_due(timezone.now())
    (waiting,) = finance.get(at)["results"]
    assert (waiting["state"], waiting["why"]) == ("waiting", "It answered 503")
    assert [a["status"] for a in waiting["attempts"]] == [503]
    assert deliver_due(timezone.now() + timedelta(minutes=5)) == 1
    again = finance("post", at, {})
    assert again.status_code == 202, again.content
    assert finance("post", at, {}).status_code == 409
    assert deliver_due(timezone.now()) == 1
    assert [d["state"] for d in finance.get(at)["results"]] == ["delivered"] * 2


def test_a_repeated_request_does_not_show_the_secret_again(finance, settings):
    body = {"name": "SAP", "url": "https://sap.example.com/"}
    first = finance("post", "export-destinations", body, **{"Idempotency-Key": "once"})
    again = finance("post", "export-destinations", body, **{"Idempotency-Key": "once"})
    assert first.json()["id"] == again.json()["id"]
    assert first.json()["secret"] and again.json()["secret"] is None


def test_it_changes_receivers_and_secrets_by_version(finance):
    made = finance("post", "export-destinations", {"name": "A", "url": "https://a.example.com/"})
    at = f"export-destinations/{made.json()['id']}"
    body = {"name": "B", "url": "https://b.example.com/", "method": "PUT"}
    assert finance("put", at, body).status_code == 428
    changed = finance("put", at, body, **{"If-Match": made["ETag"]})
    assert (changed.status_code, changed.json()["method"]) == (200, "PUT")
    assert finance("put", at, body, **{"If-Match": made["ETag"]}).status_code == 412
    renewed = finance("post", at + "/secret", **{"If-Match": changed["ETag"]})
    assert renewed.json()["secret"] != made.json()["secret"]
    inside = finance("post", "export-destinations", {"name": "A", "url": "https://[::1]/"})
    assert (inside.status_code, inside.json()["errors"][0]["pointer"]) == (422, "/url")


def test_it_changes_and_removes_schedules_by_version(finance, stranger):
    body = {"name": "Weeks", "format": "csv", "local_time": "02:00", "time_zone": "UTC"}
    made = finance("post", "export-schedules", body | {"rhythm": "weekly", "day": 5})
    assert (made.status_code, made.json()["rhythm"], made.json()["day"]) == (201, "weekly", 5)
    at = f"export-schedules/{made.json()['id']}"
    change = {"name": "Months", "rhythm": "monthly", "day": 28, "time_zone": "Asia/Kolkata"}
    assert finance("patch", at, change).status_code == 428
    changed = finance("patch", at, change, **{"If-Match": made["ETag"]})
    assert (changed.status_code, changed.json()["name"]) == (200, "Months")
    wrong = finance("patch", at, {"rhythm": "daily"}, **{"If-Match": changed["ETag"]})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/day")
    assert stranger("delete", at, **{"If-Match": changed["ETag"]}).status_code == 404
    assert finance("delete", at, **{"If-Match": made["ETag"]}).status_code == 412
    assert finance("delete", at, **{"If-Match": changed["ETag"]}).status_code == 204
    assert finance("get", at).status_code == 404


def test_it_numbers_ledger_accounts(finance, stranger):
    answer = finance("get", "ledger-accounts/bank")
    body = {"number": "1800", "name": "Bank"}
    put = finance("put", "ledger-accounts/bank", body, **{"If-Match": answer["ETag"]})
    assert (put.status_code, put.json()["version"]) == (200, 1)
    stale = finance("put", "ledger-accounts/bank", body, **{"If-Match": answer["ETag"]})
    assert stale.status_code == 412
    assert [a["number"] for a in finance.get("ledger-accounts")["results"]].count("1800") == 1
    denied = stranger("put", "ledger-accounts/bank", body, **{"If-Match": put["ETag"]})
    assert denied.status_code == 404
