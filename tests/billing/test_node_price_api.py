"""Node prices over the API: flat ones as before, lines by node, drafts and their ETags."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

pytestmark = pytest.mark.django_db

URL = "costs/gpu-prices"
SPOT = {"product": "H100", "kind": "spot", "terms": {"hourly": "1.10"}, "capacity": "spot"}
OWNED = {"product": "H100", "kind": "owned", "terms": {"purchase": "29200", "months": "40"}}


def this_hour():
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0).isoformat()


def test_it_sets_flat_prices_and_lines_at_once(finance):
    body = {"currency": "USD", "hourly": {"A100": "1.5"}, "starts_at": this_hour(), "why": "rent"}
    made = finance("post", URL, body | {"lines": [SPOT, OWNED]})
    assert made.status_code == 201, made.content
    found = {(p["product"], p["capacity"]): p for p in made.json()["prices"]}
    assert found["A100", ""]["hourly"] == "1.500000000000"
    owned = found["H100", ""]
    assert (owned["hourly"], owned["terms"]) == ("1.000000000000", OWNED["terms"])
    assert sum(map(Decimal, owned["parts"].values())) == Decimal(owned["hourly"])
    twice = finance("post", URL, body | {"lines": [SPOT, SPOT]})
    assert (twice.status_code, "same nodes" in twice.content.decode()) == (422, True)


def test_a_draft_is_read_with_its_etag_and_changed_with_it(finance):
    made = finance("post", f"{URL}/drafts", {"currency": "USD", "lines": [SPOT]})
    assert made.status_code == 201, made.content
    sheet = made.json()
    assert (sheet["starts_at"], sheet["ends_at"]) == (None, None)
    at = f"{URL}/{sheet['number']}"
    body = {"currency": "USD", "lines": [SPOT, OWNED]}
    assert finance("put", at, body).status_code == 428
    put = finance("put", at, body, **{"If-Match": made["ETag"]})
    assert put.status_code == 200, put.content
    assert finance("put", at, body, **{"If-Match": made["ETag"]}).status_code == 412
    asked = {"starts_at": this_hour(), "why": "rent"}
    proposed = finance("post", f"{at}/propose", asked, **{"If-Match": put["ETag"]})
    assert proposed.status_code == 200, proposed.content
    assert proposed.json()["change_id"]
    assert finance("put", at, body, **{"If-Match": proposed["ETag"]}).status_code == 409
    other = finance("post", f"{URL}/drafts", {"currency": "USD", "lines": [SPOT]}).json()
    changes = finance.get(f"{at}/differences-to/{other['number']}")["lines"]
    assert {(c["capacity"], c["change"], c["was"]) for c in changes} == {
        ("", "new", None),
        ("spot", "same", "1.100000000000"),
    }
    assert Decimal(finance.get(f"{at}/preview")["difference"]) == 0


@pytest.mark.parametrize("path", ["", "/1", "/1/preview", "/1/differences-to/1"])
def test_node_prices_are_the_fleets(stranger, path):
    assert stranger("get", URL + path).status_code in (403, 404)
    assert stranger("post", f"{URL}/drafts", {"currency": "USD", "lines": [SPOT]}).status_code in (
        403,
        404,
    )
