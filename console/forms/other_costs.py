"""The form of other costs. It parses; actions decide what is allowed."""

from django import forms

from billing.rules.other_costs import COLUMNS, LARGEST_FILE, MOST_ROWS
from console.forms.files import TextFileField


class OtherCostsFileForm(forms.Form):
    csv = TextFileField(
        LARGEST_FILE,
        label="CSV file",
        help_text=f"Columns {', '.join(COLUMNS)}, or a FOCUS file of a hosted provider; at most"
        f" {MOST_ROWS:,} lines",
    )
