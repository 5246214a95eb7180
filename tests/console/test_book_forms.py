"""What is typed into forms of accounts and prices is what they get."""

from decimal import Decimal

import pytest
from django.forms import ValidationError

from billing.rules.invoices import Tax
from console.forms.books import read_tax
from console.forms.money import DraftForm


def test_a_tax_is_a_name_and_a_rate():
    assert read_tax(1, "VAT, 0.19") == Tax("VAT", Decimal("0.19"))
    assert read_tax(1, "Sales tax, Springfield, 0.0725") == Tax(
        "Sales tax, Springfield", Decimal("0.0725")
    )


def test_an_open_quote_is_told_with_its_line():
    lines = ['"chat, prompt, 0.5', *["chat, cached, 0.1"] * 9_000]
    form = DraftForm({"lines": "\n".join(lines), "version": "1"})
    assert form.errors["lines"][0].startswith("Line 1: ")
    form = DraftForm({"lines": '\n"chat", prompt, "0.5"\n , ,\n', "version": "1"})
    assert form.is_valid(), form.errors
    (price,) = form.cleaned_data["lines"]
    assert (price.model, price.meter, price.text) == ("chat", "prompt", "0.5")


@pytest.mark.parametrize("line", ["VAT, 0,1", "VAT, 0, 01", "VAT 0.1", "VAT, a tenth"])
def test_a_rate_that_is_no_number_with_a_point_is_refused(line):
    """Read at its last comma, a tenth would be all of it."""
    with pytest.raises(ValidationError, match="Line 3: write"):
        read_tax(3, line)
