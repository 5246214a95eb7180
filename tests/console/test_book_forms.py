"""What is typed into the forms of accounts is what the account gets."""

from decimal import Decimal

import pytest
from django.forms import ValidationError

from billing.rules.invoices import Tax
from console.forms.books import read_tax


def test_a_tax_is_a_name_and_a_rate():
    assert read_tax(1, "VAT, 0.19") == Tax("VAT", Decimal("0.19"))
    assert read_tax(1, "Sales tax, Springfield, 0.0725") == Tax(
        "Sales tax, Springfield", Decimal("0.0725")
    )


@pytest.mark.parametrize("line", ["VAT, 0,1", "VAT, 0, 01", "VAT 0.1", "VAT, a tenth"])
def test_a_rate_that_is_no_number_with_a_point_is_refused(line):
    """Read at its last comma, a tenth would be all of it."""
    with pytest.raises(ValidationError, match="Line 3: write"):
        read_tax(3, line)
