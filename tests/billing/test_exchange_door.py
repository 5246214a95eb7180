"""Exchange rates by the API: record, repeat, import, list; an account that is converted by them."""

import json

import pytest
from django.utils import timezone

from billing.actions.calendars import keep_periods
from tests.billing.books import engines_agree, spend
from tests.billing.doors import Door, make_token
from tests.billing.factories import PRICES, make_prices
from tests.billing.test_books_api import TERMS, sent

pytestmark = pytest.mark.django_db
RATE = {"base": "USD", "quote": "EUR", "source": "ECB", "rate": "0.9217"}


def today():
    return timezone.now().date().isoformat()


def test_it_records_a_rate_once_and_corrects_it_by_another(finance):
    given = RATE | {"date": today()}
    first = sent(finance, "exchange-rates", given, want=201)
    assert first == {"new": 1, "corrected": 0, "known": 0}
    second = sent(finance, "exchange-rates", given, want=201)
    assert second == {"new": 0, "corrected": 0, "known": 1}
    again = sent(finance, "exchange-rates", given | {"rate": "0.93"}, want=201)
    assert again == {"new": 1, "corrected": 1, "known": 0}
    found = finance.get("exchange-rates?base=USD&quote=EUR&source=ECB")["results"]
    assert [r["rate"] for r in found] == ["0.930000000000", "0.921700000000"]
    assert found[0]["date"] == today()
    assert finance.get("exchange-rates?base=EUR")["results"] == []


def test_it_says_what_is_wrong_with_a_rate(finance):
    wrong = {"base": "XAU", "quote": "EUR", "date": "2099-01-01", "source": "ECB", "rate": "0"}
    refused = sent(finance, "exchange-rates", wrong, want=422)
    assert {e["pointer"] for e in refused["errors"]} == {"/base", "/date", "/rate"}


def test_it_imports_a_file_whole_or_not_at_all(finance):
    text = f"base,quote,date,source,rate\nUSD,EUR,{today()},ECB,0.9\nUSD,JPY,{today()},ECB,150\n"
    refused = sent(finance, "exchange-rates/import", {"csv": text + "USD,EUR"}, want=422)
    assert "Line 4 is not like" in json.dumps(refused)
    assert finance.get("exchange-rates")["results"] == []
    done = sent(finance, "exchange-rates/import", {"csv": text}, want=201)
    assert done == {"new": 2, "corrected": 0, "known": 0}


def test_a_tenants_people_read_rates_and_record_none(acme, finance):
    theirs = Door(make_token("anna", "finance", acme))
    sent(finance, "exchange-rates", RATE | {"date": today()}, want=201)
    assert len(theirs.get("exchange-rates")["results"]) == 1
    sent(theirs, "exchange-rates", RATE | {"date": today()}, want=404)


def test_an_account_is_invoiced_in_another_currency(finance, acme, gateway):
    make_prices({m: {k: p * 100_000 for k, p in v.items()} for m, v in PRICES.items()})
    first = finance("get", "billing-accounts/acme")
    terms = TERMS | {"currency": "EUR", "rate_source": "ECB"}
    account = finance("put", "billing-accounts/acme", terms, **{"If-Match": first["ETag"]}).json()
    assert (account["currency"], account["rated_in"], account["rate_source"]) == (
        "EUR",
        "USD",
        "ECB",
    )
    spend(gateway, acme)
    keep_periods(timezone.now())
    (period,) = finance.get("billing-periods?tenant=acme&state=open&limit=1000")["results"][-1:]
    path = f"billing-periods/{period['id']}"
    engines_agree()
    sent(finance, f"{path}/start-closing")
    refused = sent(finance, f"{path}/close", want=409)
    assert "USD/EUR of" in refused["detail"]
    sent(finance, "exchange-rates", RATE | {"date": today()}, want=201)
    sent(finance, f"{path}/close")
    (made,) = sent(finance, f"{path}/invoices", want=201)
    found = finance.get(f"invoices/{made['number']}")
    assert (found["currency"], found["priced_in"], found["rate_on"]) == ("EUR", "USD", today())
    assert finance.get(f"invoices/{made['number']}/record")["exchange"]["rate"] == "0.9217"
