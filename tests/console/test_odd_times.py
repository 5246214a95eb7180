"""Times at the ends of the calendar are refused with a sentence, on pages and in the API."""

import pytest

from tests.console.visitors import browser

pytestmark = pytest.mark.django_db
PAGES = (
    "/billing/acme/?month=9999-12",
    "/billing/acme/?month=0001-01",
    "/billing/acme/charges/?from=9999-12-31T12:00Z&to=9999-12-31T13:00Z",
    "/billing/acme/charges/?from=0001-01-01T00:00%2B14:00&to=0001-01-02",
    "/billing/acme/charges/?from=9999-12-31T23:00-14:00&to=9999-12-31T23:30-14:00",
    "/billing/acme/hours/?from=0001-01-01T00:00%2B14:00&to=0001-01-02",
    "/requests/?from=9999-12-31T12:00Z&to=9999-12-31T13:00Z",
    "/economics/?from=9999-12-31T12:00Z&to=9999-12-31T13:00Z",
    "/economics/?from=0001-01-01T00:00%2B14:00&to=0001-01-02",
    "/journal/?first=0001-01-01",
    "/billing/acme/compare/?first=9999-12-31",
)
SPAN = "since=9999-12-30T00:00:00Z&until=9999-12-31T00:00:00Z"
EARLY = "until=0001-01-01T00:00:00Z"
CALLS = (
    f"charges?tenant=acme&{SPAN}",
    f"charges?tenant=acme&{EARLY}",
    f"usage?tenant=acme&{SPAN}",
    f"usage/completeness?{SPAN}",
    f"charges/download?{SPAN}",
    "charges/download?tenant=acme&month=9999-12",
    "charges/download?tenant=acme&month=0001-01",
    "usage/download?month=9999-12",
    f"costs/economics?{SPAN}",
    f"costs/allocations?{EARLY}",
    f"costs/units?{SPAN}&by=tenant",
    f"journal?{SPAN}",
)


@pytest.mark.parametrize("address", PAGES)
def test_a_page_refuses_it(scene, address):
    fin = browser(scene.fin)
    fin.raise_request_exception = False
    answer = fin.get(address)
    assert answer.status_code in (200, 422), answer.content[:500]


@pytest.mark.parametrize("call", CALLS)
def test_the_api_refuses_it(scene, call):
    fin = browser(scene.fin)
    fin.raise_request_exception = False
    answer = fin.get("/api/v1/" + call)
    assert answer.status_code in (200, 422), answer.content[:500]


@pytest.mark.parametrize(
    ("first", "last"), [("9999-12-31", "9999-12-31"), ("0001-01-01", "0001-01-02")]
)
def test_an_export_of_such_days_is_refused(scene, first, last):
    fin = browser(scene.fin)
    fin.raise_request_exception = False
    given = {"format": "csv", "file_type": "csv", "tenant": "", "first": first, "last": last}
    assert fin.post("/exports/", given).status_code == 422
    body = {"format": "csv", "starts_at": f"{first}T00:00:00Z", "ends_at": f"{last}T12:00:00Z"}
    answer = fin.post("/api/v1/exports", body, content_type="application/json")
    assert answer.status_code in (403, 422), answer.content[:300]
