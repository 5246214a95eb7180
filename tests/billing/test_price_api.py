"""Prices by the API: drafts by ETag, contracts, starts, what is refused."""

import pytest
from django.utils import timezone

from billing.drive.previews import work_due

pytestmark = pytest.mark.django_db


def book(finance):
    finance("post", "price-books", {"slug": "eu", "name": "EU", "currency": "EUR"})
    return finance("get", "price-books/eu")


def prices(**changes):
    return {
        "prices": [
            {"model": "chat", "meter": meter, "price": "0.15"} | changes
            for meter in ("prompt", "cached", "completion")
        ]
    }


def test_it_drafts_and_publishes_prices_by_etag(finance):
    etag = book(finance)["ETag"]
    made = finance("post", "price-books/eu/versions", prices(), **{"If-Match": etag})
    assert made.status_code == 201, made.content
    assert made.json()["versions"][0]["state"] == "draft"
    stale = finance("post", "price-books/eu/versions", prices(), **{"If-Match": etag})
    assert stale.status_code == 412
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    body = {"starts_at": hour.isoformat(), "why": "first prices"}
    url = "price-books/eu/versions/1/propose"
    assert finance("post", url, body).status_code == 428
    done = finance("post", url, body, **{"If-Match": made["ETag"]})
    assert done.status_code == 200, done.content
    version = done.json()["versions"][0]
    assert (version["state"], version["prices"][0]["price"]) == ("proposed", "0.150000000000")
    again = finance("post", url, body, **{"If-Match": done["ETag"]})
    assert again.status_code == 409
    edit = finance("put", "price-books/eu/versions/1", prices(), **{"If-Match": done["ETag"]})
    assert edit.status_code == 409


def test_it_edits_compares_and_previews_drafts(finance):
    made = finance(
        "post", "price-books/eu/versions", prices(), **{"If-Match": book(finance)["ETag"]}
    )
    tiers = prices(price="tiered 1000:1 rest:0.5")
    edited = finance("put", "price-books/eu/versions/1", tiers, **{"If-Match": made["ETag"]})
    assert edited.status_code == 200, edited.content
    price = edited.json()["versions"][0]["prices"][0]
    assert (price["kind"], price["text"]) == ("tiered", "tiered 1000:1 rest:0.5")
    finance("post", "price-books/eu/versions", prices(), **{"If-Match": edited["ETag"]})
    lines = finance.get("price-books/eu/versions/2/differences-to/1")["lines"]
    assert {(d["was"], d["will"], d["change"]) for d in lines} == {
        ("tiered 1000:1 rest:0.5", "0.15", "other")
    }
    url = "price-books/eu/versions/2/preview"
    assert finance("get", url).status_code == 404
    asked = finance("post", url)
    assert (asked.status_code, asked.json()["state"]) == (202, "waiting")
    work_due(timezone.now())
    done = finance.get(url)
    assert (done["state"], done["is_current"], done["lines"]) == ("done", True, [])


def test_it_opens_contracts_of_tenants(finance, acme):
    made = finance("post", "contracts", {"tenant": "acme"})
    assert made.status_code == 201, made.content
    assert made.json()["tenant_id"] == acme.pk
    assert finance("post", "contracts", {"tenant": "acme"}).status_code == 409
    assert finance("post", "contracts", {"tenant": "nobody"}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        prices(price=0.15),
        prices(price="-1"),
        prices(price="NaN"),
        prices(price="1e99"),
        prices(price="0.0000001"),
        prices(meter="words"),
        prices(model=""),
        prices(model=7),
        prices(traffic_class="gold"),
        {"prices": []},
        {"prices": prices()["prices"][:2]},
        {"prices": prices()["prices"] * 2},
        {"prices": "cheap"},
        {},
        prices() | {"more": 1},
    ],
)
def test_it_refuses_prices_that_cannot_be(finance, body):
    etag = book(finance)["ETag"]
    answer = finance("post", "price-books/eu/versions", body, **{"If-Match": etag})
    assert answer.status_code == 422, answer.content


@pytest.mark.parametrize("starts_at", ["2026-11-20T12:30:00Z", "2026-01-01T00:00:00Z", "x", 5])
def test_it_refuses_a_start_off_the_hour_or_in_the_past_without_a_reason(finance, starts_at):
    made = finance(
        "post", "price-books/eu/versions", prices(), **{"If-Match": book(finance)["ETag"]}
    )
    answer = finance(
        "post",
        "price-books/eu/versions/1/propose",
        {"starts_at": starts_at},
        **{"If-Match": made["ETag"]},
    )
    assert answer.status_code == 422
