"""The API of credits, budget alerts and odd days: what docs/finance/api.md shows."""

import pytest

from billing.actions.anomalies import keep_anomalies
from billing.actions.grants import apply_decisions
from tests.billing.doors import Door, make_token
from tests.billing.factories import NOW

pytestmark = pytest.mark.django_db
CREDIT = {
    "name": "Prepaid balance", "amount": "500.00", "currency": "USD", "paid": True,
    "reference": "SEPA-77", "why": "Contract 17",
}  # fmt: skip


@pytest.fixture
def finance(acme):
    return Door(make_token("fiona", "finance"))


@pytest.fixture
def approver(acme):
    return Door(make_token("vic", "approver", permissions=["view", "view_fleet", "approve"]))


def ask(finance, *, key="k", want=201, **changes):
    path = "billing-accounts/acme/credits"
    answer = finance("post", path, CREDIT | changes, **{"Idempotency-Key": key})
    assert answer.status_code == want, answer.content
    return answer.json()


def test_it_grants_a_credit_once_for_one_key(finance, approver):
    asked = ask(finance)
    assert (asked["state"], asked["rest"]) == ("waiting", "0.000000000000")
    assert ask(finance) == asked
    change = approver.get(f"changes/{asked['change_id']}")
    body = {"digest": change["digest"], "approve": True}
    decided = approver("post", f"changes/{asked['change_id']}/decide", body)
    assert decided.status_code == 200, decided.content
    assert apply_decisions(NOW) == 1
    (found,) = finance.get("credits?tenant=acme&state=active")["results"]
    assert found == finance.get(f"credits/{asked['id']}")
    assert (found["rest"], found["decided_by"]) == ("500.000000000000", "vic@example.com")
    (entry,) = finance.get(f"credits/{asked['id']}/entries")["results"]
    assert (entry["kind"], entry["left"], entry["invoice"]) == ("granted", "500.000000000000", None)


def test_it_says_what_is_wrong_with_a_credit(finance):
    refused = ask(
        finance, want=422, currency="EUR", reference="", expires_at="2020-01-01T00:00:00Z"
    )
    assert {e["pointer"] for e in refused["errors"]} == {"/currency", "/reference", "/expires_at"}


def test_it_sets_alerts_with_the_version_that_was_read(finance):
    path = "tenants/acme/budget-alerts"
    first = finance("get", path)
    assert first.json()["thresholds"] == [50, 80, 100]
    body = {"thresholds": [90], "mails": ["money@acme.example"]}
    changed = finance("put", path, body, **{"If-Match": first["ETag"]})
    assert (changed.json()["thresholds"], changed.json()["version"]) == ([90], 1)
    assert finance("put", path, body, **{"If-Match": first["ETag"]}).status_code == 412


def test_lists_of_alerts_and_odd_days_are_empty_at_first(finance):
    keep_anomalies(NOW)
    for path in ("budget-alerts", "spend-anomalies"):
        assert finance.get(f"{path}?tenant=acme")["results"] == []


def test_a_stranger_learns_nothing(finance, stranger, acme):
    asked = ask(finance)
    for path in ("credits", "budget-alerts", "spend-anomalies"):
        assert stranger.get(path)["results"] == []
    for path in (
        f"credits/{asked['id']}",
        f"credits/{asked['id']}/entries",
        "tenants/acme/budget-alerts",
        "spend-anomalies?tenant=acme",
    ):
        assert stranger("get", path).status_code == 404
    assert stranger("post", "billing-accounts/acme/credits", CREDIT).status_code == 404


def test_an_answer_has_the_members_that_were_asked_for(finance, approver):
    asked = ask(finance)
    (row,) = finance.get("credits?fields=id,rest&state=waiting")["results"]
    assert row == {"id": asked["id"], "rest": "0.000000000000"}
    assert finance.get(f"credits/{asked['id']}?fields=state") == {"state": "waiting"}
    for path in ("credits", f"credits/{asked['id']}"):
        refused = finance("get", f"{path}?fields=id,left")
        assert refused.status_code == 422
        assert "no member 'left' here; there are" in refused.json()["errors"][0]["detail"]
