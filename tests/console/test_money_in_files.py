"""Files of pages: every list has one, and numbers in it are written out."""

import re
from decimal import Decimal

import pytest

from tests.console.visitors import browser, rows

pytestmark = pytest.mark.django_db
EXPONENT = re.compile(r"-?\d+(\.\d+)?[Ee][+-]?\d+")


def test_credit_notes_are_a_file_too(scene):
    fin = browser(scene.fin)
    shown = fin.get("/invoices/?kind=credit")
    assert "format=csv" in shown.content.decode()
    answer = fin.get("/invoices/?kind=credit&format=csv")
    assert answer["Content-Type"].startswith("text/csv")
    found = rows(answer)
    assert [r["number"] for r in found] == [n.number for n, _ in shown.context["rows"]]
    assert {r["invoice__number"] for r in found} == {scene.invoice.number}
    assert fin.get("/invoices/?kind=credit&format=csv&tenant=globex").content.count(b"\n") == 1


@pytest.mark.parametrize(
    "address",
    ["/billing/acme/charges/?from=now-30d", "/billing-accounts/acme/", "/journal/", "/invoices/"],
)
def test_no_number_has_an_exponent(scene, address):
    """A unit price of half a millionth is 0.000000500000, not 5.00000E-7."""
    fin = browser(scene.fin)
    page = fin.get(address)
    assert page.status_code == 200
    answer = fin.get(address + ("&" if "?" in address else "?") + "format=csv")
    cells = [cell for row in rows(answer) for cell in row.values()]
    assert cells
    assert [c for c in cells if EXPONENT.fullmatch(c)] == []


def test_a_price_is_the_same_on_the_page_and_in_its_file(scene):
    fin = browser(scene.fin)
    found = rows(fin.get("/billing/acme/charges/?from=now-30d&format=csv"))
    assert {Decimal(r["unit_price"]) for r in found} >= {Decimal("0.0000005")}
    assert "0.000000500000" in {r["unit_price"] for r in found}
