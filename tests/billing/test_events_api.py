"""The API of webhooks, events and deliveries."""

import pytest
from django.utils import timezone

from billing.drive.events import deliver_due
from tests.billing.books import NOVEMBER, bill_month, spend
from tests.billing.doors import Door, make_token

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _private(settings):
    settings.QM_ALLOW_PRIVATE_DELIVERY = True


@pytest.fixture
def finance(acme):
    return Door(make_token("fiona", "finance"))


def make(finance, door, **changes):
    body = {"url": door.url, "kinds": ["period.closed", "invoice.issued"]} | changes
    answer = finance("post", "webhooks", body, **{"Idempotency-Key": "hook"})
    assert answer.status_code == 201, answer.content
    return answer


def test_it_tells_the_secret_once(finance, door):
    made = make(finance, door).json()
    assert made["secret"].startswith("whsec_")
    assert make(finance, door).json() == made | {"secret": None}
    (listed,) = finance.get("webhooks")["results"]
    assert "secret" not in listed and listed == finance.get(f"webhooks/{made['id']}")
    assert finance("delete", f"webhooks/{made['id']}").status_code == 204
    assert finance.get("webhooks")["results"] == []


def test_it_changes_one_with_the_version_that_was_read(finance, door):
    made = make(finance, door)
    path, match = f"webhooks/{made.json()['id']}", {"If-Match": made["ETag"]}
    body = {"url": door.url, "kinds": ["invoice.issued"]}
    changed = finance("put", path, body, **match)
    assert changed.json()["kinds"] == ["invoice.issued"]
    assert finance("put", path, body, **match).status_code == 412
    assert finance("put", path, body).status_code == 428
    renewed = finance("post", f"{path}/secret", **{"If-Match": changed["ETag"]})
    assert renewed.json()["secret"] not in (None, made.json()["secret"])


def test_it_lists_what_happened_and_sends_it_again(finance, door, priced, acme, gateway):
    made = make(finance, door, tenant="acme").json()
    spend(gateway, acme, prompt_tokens=1_000_000)
    invoice = bill_month(acme)
    door.answers = [(410, {}), (410, {})]
    deliver_due(NOVEMBER)
    (event,) = finance.get("finance-events?kind=invoice.issued&tenant=acme")["results"]
    assert event["message"]["data"]["number"] == event["subject"] == invoice.number
    failed = finance.get(f"event-deliveries?state=failed&webhook_id={made['id']}")["results"]
    assert {d["answered"] for d in failed} == {410} and len(failed) == 2
    again = finance("post", f"event-deliveries/{failed[0]['id']}/send-again")
    assert (again.status_code, again.json()["state"]) == (201, "waiting")
    deliver_due(timezone.now())
    assert door.came[-1].headers["webhook-id"] == f"event_{failed[0]['event_id']}_{made['id']}"
    assert len(finance.get("event-deliveries?state=done")["results"]) == 1


def test_it_says_what_is_wrong(finance):
    refused = finance("post", "webhooks", {"url": "nowhere", "kinds": []})
    assert {e["pointer"] for e in refused.json()["errors"]} == {"/url", "/kinds"}
    unknown = finance("post", "webhooks", {"url": "https://erp.example", "kinds": ["paid"]})
    assert unknown.status_code == 422
    assert finance("get", "finance-events?kind=paid").status_code == 422


def test_a_stranger_learns_nothing(finance, stranger, door, priced, acme, gateway):
    made = make(finance, door, tenant="acme").json()
    spend(gateway, acme, prompt_tokens=1_000_000)
    bill_month(acme)
    for path in ("webhooks", "finance-events", "event-deliveries"):
        assert stranger.get(path)["results"] == []
        assert stranger("get", f"{path}?tenant=acme").status_code == 404
    for method in ("get", "delete"):
        assert stranger(method, f"webhooks/{made['id']}").status_code == 404
