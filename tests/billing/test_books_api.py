"""The API of accounts, periods and invoices: from an open month to a credit note."""

import hashlib
import json

import pytest
from django.test import Client
from django.utils import timezone

from billing.actions.calendars import keep_periods
from tests.billing.books import engines_agree, spend
from tests.billing.factories import PRICES, make_prices

pytestmark = pytest.mark.django_db
TERMS = {
    "name": "Société Acme",
    "currency": "USD",
    "time_zone": "Europe/Paris",
    "purchase_order": "PO-1",
    "terms_days": 14,
    "rounding": "HALF_UP",
    "tax_per": "line",
    "taxes": [{"name": "TVA", "rate": "0.2"}],
}


@pytest.fixture
def month(acme, gateway):
    """October, over since weeks, with money worth rounding."""
    make_prices({m: {k: p * 100_000 for k, p in v.items()} for m, v in PRICES.items()})
    spend(gateway, acme)
    keep_periods(timezone.now())


def sent(door, path, body=None, method="post", want=200, **headers):
    answer = door(method, path, body, **headers)
    assert answer.status_code == want, answer.content
    return answer.json()


@pytest.fixture
def invoice(finance, month):
    (period,) = finance.get("billing-periods?tenant=acme&state=open&limit=1000")["results"][-1:]
    path = f"billing-periods/{period['id']}"
    assert period["name"] == "2026-10"
    engines_agree()
    sent(finance, f"{path}/start-closing")
    closed = sent(finance, f"{path}/close")
    assert (closed["state"], closed["checks"]) == ("closed", [])
    (made,) = sent(finance, f"{path}/invoices", want=201)
    return made | {"path": path}


def test_it_sets_terms_with_the_version_that_was_read(finance, acme, globex):
    first = finance("get", "billing-accounts/acme")
    assert first.json()["version"] == 0
    other = finance("get", "billing-accounts/globex")
    taken = finance("put", "billing-accounts/acme", TERMS, **{"If-Match": other["ETag"]})
    assert taken.status_code == 412
    answer = finance("put", "billing-accounts/acme", TERMS, **{"If-Match": first["ETag"]})
    assert answer.json()["taxes"] == [{"name": "TVA", "rate": "0.200000000000"}]
    stale = finance("put", "billing-accounts/acme", TERMS, **{"If-Match": first["ETag"]})
    assert stale.status_code == 412
    wrong = TERMS | {"currency": "EUR", "time_zone": "Mars/Base", "taxes": []}
    refused = finance("put", "billing-accounts/acme", wrong, **{"If-Match": answer["ETag"]})
    assert {e["pointer"] for e in refused.json()["errors"]} == {"/rate_source", "/time_zone"}


def test_it_leads_from_an_invoice_to_the_charges_of_a_line(finance, invoice):
    found = finance.get(f"invoices/{invoice['number']}")
    lines = [x for x in found["lines"] if x["charges"]]
    assert [x["amount"] for x in lines] == ["0.200000000000", "4.500000000000", "3.000000000000"]
    for line in lines:
        charges = finance.get(f"invoices/{invoice['number']}/lines/{line['position']}/charges")
        assert [c["amount"] for c in charges["results"]] == [line["exact"]]


def test_it_gives_the_frozen_record_and_the_pdf_with_their_digests(finance, invoice):
    record = finance("get", f"invoices/{invoice['number']}/record")
    text = json.dumps(record.json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert record["ETag"] == f'"{hashlib.sha256(text.encode()).hexdigest()}"'
    pdf = finance("get", f"invoices/{invoice['number']}/pdf")
    assert pdf["ETag"] == f'"{hashlib.sha256(pdf.content).hexdigest()}"'


@pytest.mark.parametrize("part", ["record", "pdf"])
def test_it_does_not_send_again_what_is_frozen_and_known(finance, invoice, part):
    at = f"invoices/{invoice['number']}/{part}"
    known = finance("get", at)["ETag"]
    again = finance("get", at, **{"If-None-Match": f'"x", {known}'})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", known)
    assert "RateLimit" in again.headers
    assert finance("get", at, **{"If-None-Match": '"x"'}).status_code == 200


def test_it_says_why_a_month_does_not_close(finance, month):
    (period,) = finance.get("billing-periods?tenant=acme")["results"][-1:]
    refused = finance("post", f"billing-periods/{period['id']}/close")
    assert refused.status_code == 409
    assert "begin to close it first" in refused.json()["detail"]


def test_it_credits_once_for_one_key(finance, invoice):
    body = {"lines": [{"line": 1, "amount": "0.05"}], "why": "goodwill"}
    path = f"invoices/{invoice['number']}/credit-notes"
    key = {"Idempotency-Key": "credit-1"}
    first = sent(finance, path, body, want=201, **key)
    assert sent(finance, path, body, want=201, **key) == first
    assert len(finance.get("credit-notes?tenant=acme")["results"]) == 1
    shown = finance("get", f"invoices/{invoice['number']}")
    assert "ETag" not in shown, "what remains of it changes; its record does not"
    refused = finance("post", path, body | {"lines": [{"line": 1, "amount": "0.16"}]})
    assert "0.15" in refused.json()["detail"]
    assert refused.status_code == 422


def test_it_shows_the_statement_after_a_payment(finance, invoice):
    body = {"amount": "0.70", "currency": "USD", "reference": "bank-1"}
    sent(finance, "billing-accounts/acme/payments", body, want=201)
    assert finance("post", "billing-accounts/acme/payments", body).status_code == 409
    rows = finance.get("billing-accounts/acme/statement")["results"]
    assert [(r["kind"], r["balance"]) for r in rows] == [
        ("payment", "7.000000000000"),
        ("invoice", "7.700000000000"),
    ]


def test_it_needs_a_person_and_a_reason_to_ask_for_reopening(finance, invoice):
    answer = finance("post", f"{invoice['path']}/reopen", {"why": ""})
    assert answer.status_code == 422
    found = sent(finance, f"{invoice['path']}/reopen", {"why": "a day is missing"}, want=202)
    assert found["change_id"]


def test_a_stranger_learns_nothing(stranger, invoice):
    for path in ("invoices", "billing-periods", "credit-notes"):
        assert stranger.get(path)["results"] == []
    assert [a["tenant"] for a in stranger.get("billing-accounts")["results"]] == ["globex"]
    for path in (
        f"invoices/{invoice['number']}",
        f"invoices/{invoice['number']}/pdf",
        f"invoices/{invoice['number']}/record",
        invoice["path"],
        "billing-accounts/acme",
        "billing-accounts/acme/statement",
    ):
        assert stranger("get", path).status_code == 404, path
    for verb in ("start-closing", "close", "invoices"):
        assert stranger("post", f"{invoice['path']}/{verb}").status_code == 404
    assert Client().get("/api/v1/invoices").status_code == 401
