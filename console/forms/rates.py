"""Forms of exchange rates. They parse; actions decide what is allowed."""

from django import forms

from billing.rules.exchange import COLUMNS, LARGEST_FILE, MOST_ROWS, Recorded
from console.forms.files import TextFileField


class RateForm(forms.Form):
    base = forms.CharField(label="One unit of", max_length=3, help_text="As in USD")
    quote = forms.CharField(label="In", max_length=3, help_text="As in EUR")
    date = forms.DateField(label="Day", widget=forms.DateInput(attrs={"type": "date"}))
    source = forms.CharField(
        label="Source", max_length=64, help_text="Who says so, as the account's terms name it"
    )
    rate = forms.DecimalField(
        label="Rate", help_text="Units of the second currency for one of the first, as in 0.9217"
    )

    def recorded(self) -> Recorded:
        given = self.cleaned_data
        return Recorded(
            given["base"].upper(),
            given["quote"].upper(),
            given["date"],
            given["source"],
            given["rate"],
        )


class RatesFileForm(forms.Form):
    csv = TextFileField(
        LARGEST_FILE,
        label="CSV file",
        help_text=f"Columns {', '.join(COLUMNS)}; at most {MOST_ROWS:,} rates",
    )
