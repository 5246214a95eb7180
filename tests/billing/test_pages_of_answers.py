"""Pages of lists: each row once, however many share the hour that orders them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.models import OtherCost
from tests.billing.doors import Door, make_token
from tests.billing.factories import make_tenant

pytestmark = pytest.mark.django_db
AT = datetime(2026, 10, 1, tzinfo=UTC)


@pytest.fixture
def finance():
    return Door(make_token("fiona", "finance"))


def walk(finance, url, way):
    pages = []
    while url:
        found = finance.get(url)
        pages.append(found["results"])
        url = found[way] and found[way].partition("/api/v1/")[2]
        last = found
    return pages, last


def costs(count):
    OtherCost.objects.bulk_create(
        OtherCost(
            starts_at=AT, ends_at=AT.replace(day=2), kind="platform", name=f"Rent {n}",
            currency="USD", amount=Decimal(n), key=f"{n:064}", recorded_at=AT,
            recorded_by="tests",
        )
        for n in range(count)
    )  # fmt: skip


def test_it_gives_each_row_of_a_full_hour_once(finance):
    costs(2_100)
    pages, _ = walk(finance, "costs/other?limit=500&fields=id", "next")
    seen = [row["id"] for page in pages for row in page]
    assert [len(page) for page in pages] == [500, 500, 500, 500, 100]
    assert seen == sorted(set(seen), reverse=True)


def test_it_leads_back_over_the_same_pages(finance):
    costs(7)
    pages, last = walk(finance, "costs/other?limit=3&fields=id", "next")
    back, first = walk(finance, last["previous"].partition("/api/v1/")[2], "previous")
    assert [last["results"], *back] == pages[::-1]
    assert (first["previous"], last["next"]) == (None, None)
    again, _ = walk(finance, first["next"].partition("/api/v1/")[2], "next")
    assert again == pages[1:]


def test_a_balance_is_the_same_on_every_page(finance):
    make_tenant("acme")
    for n in range(5):
        body = {"amount": "1", "currency": "USD", "reference": f"SEPA-{n}"}
        assert finance("post", "billing-accounts/acme/payments", body).status_code == 201
    whole = finance.get("billing-accounts/acme/statement")["results"]
    assert [row["balance"][:2] for row in whole] == ["-5", "-4", "-3", "-2", "-1"]
    pages, last = walk(finance, "billing-accounts/acme/statement?limit=2", "next")
    back, _ = walk(finance, last["previous"].partition("/api/v1/")[2], "previous")
    assert [row for page in pages for row in page] == whole
    assert back == pages[-2::-1]


def test_it_pages_what_is_no_table(finance):
    for slug in ("acme", "globex", "initech"):
        make_tenant(slug)
    pages, last = walk(finance, "billing-accounts?limit=2&fields=tenant", "next")
    assert [[a["tenant"] for a in page] for page in pages] == [["acme", "globex"], ["initech"]]
    back, _ = walk(finance, last["previous"].partition("/api/v1/")[2], "previous")
    assert back == pages[:1]


@pytest.mark.parametrize(
    "cursor", ["cD1hYmM=", "W10=", "W3RydWUsICJhIiwgImIiXQ==", "bm9uc2Vuc2U", "é", "W" * 5_000]
)
@pytest.mark.parametrize("path", ["costs/other", "charges", "rating-runs", "billing-accounts"])
def test_it_finds_no_page_by_another_cursor(finance, path, cursor):
    assert finance("get", f"{path}?cursor={cursor}").status_code == 404


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("charges?tenant=acme&tenant=globex", "Give this parameter once"),
        ("charges?fields=id&fields=hour", "Give this parameter once"),
        ("exports?limit=1&limit=2", "Give this parameter once"),
        ("exports?state=failed", "This parameter is not known here"),
        ("costs/other?currency=EUR", "This parameter is not known here"),
    ],
)
def test_a_parameter_that_would_not_count_is_refused(finance, address, said):
    refused = finance("get", address)
    assert refused.status_code == 422
    assert said in refused.json()["detail"]
