"""Forms of exchange rates. They parse; actions decide what is allowed."""

from typing import Any

from django import forms

from billing.rules.exchange import COLUMNS, MOST_ROWS, Recorded

LARGEST_FILE = 1 << 20


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
    csv = forms.FileField(
        label="CSV file",
        help_text=f"Columns {', '.join(COLUMNS)}; at most {MOST_ROWS:,} rates",
    )

    def clean_csv(self) -> str:
        given: Any = self.cleaned_data["csv"]  # an uploaded file
        if given.size > LARGEST_FILE:
            raise forms.ValidationError("The file is larger than 1 MiB: import it in parts")
        try:
            text: str = given.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise forms.ValidationError("The file is no text in UTF-8") from error
        return text
