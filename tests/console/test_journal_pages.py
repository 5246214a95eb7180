"""The pages of the journal: filters, drill to documents, files of what is shown."""

import csv
from decimal import Decimal

import pytest

from billing.models import JournalLeg
from tenants.base.scope import fleet_scope
from tests.console.test_money_pages import browser

pytestmark = pytest.mark.django_db


@pytest.fixture
def fin(scene):
    return browser(scene.fin)


def rows_of(answer):
    return list(csv.DictReader(answer.content.decode().splitlines()))


def test_it_shows_the_trial_balance_and_its_legs(fin):
    page = fin.get("/journal/")
    assert b"Adds up to 0 in each currency" in page.content
    rows = rows_of(fin.get("/journal/?format=csv"))
    with fleet_scope():
        assert len(rows) == JournalLeg.objects.count()
    assert sum(Decimal(r["debit"]) - Decimal(r["credit"]) for r in rows) == 0
    balance = rows_of(fin.get("/journal/?format=csv&part=balance"))
    shown = page.context["trial"].lines
    assert [(r["account"], Decimal(r["balance"])) for r in balance] == [
        (x.account, x.balance) for x in shown
    ]


def test_its_filters_hold_for_page_and_file(fin, scene):
    query = "?tenant=acme&account=receivable&kind=payment&first=2020-01-01&last=2099-12-31"
    legs = fin.get(f"/journal/{query}").context["legs"]
    assert [(leg.txn.document, slug) for leg, slug in legs] == [("SEPA-81", "acme")]
    assert [r["document"] for r in rows_of(fin.get(f"/journal/{query}&format=csv"))] == ["SEPA-81"]
    assert not fin.get("/journal/?last=2020-01-01").context["legs"]
    assert fin.get("/journal/?tenant=nobody").status_code == 404
    for wrong in ("account=cash", "kind=gift", "first=yesterday", "last=0001-01-01"):
        assert fin.get(f"/journal/?{wrong}").status_code == 422, wrong


def test_a_leg_leads_to_its_transaction_and_its_document(fin, scene):
    legs = fin.get("/journal/?kind=credit_note").context["legs"]
    page = fin.get(f"/journal/{legs[0][0].txn_id}/")
    assert f"/credit-notes/{scene.note.number}/" in page.content.decode()
    assert f'href="/journal/{legs[0][0].txn_id}/"' in fin.get("/journal/").content.decode()


def test_a_stranger_sees_none_of_it(scene):
    mallory = browser(scene.mallory)
    found = mallory.get("/journal/")
    if found.status_code == 200:
        assert not found.context["legs"] or {s for _, s in found.context["legs"]} != {"acme"}
    assert mallory.get(f"/journal/{scene.txn}/").status_code in (403, 404)
    assert browser(scene.watcher).get("/journal/").status_code in (403, 404)
