"""Forms of prices. They parse; what is allowed is decided by the actions."""

import csv
from typing import Any

from django import forms

from billing.rules.prices import ON, PriceLine, read_line

COLUMNS = "service, meter, price, class, on what"
ANY = "*"
HOUR_FORMATS = ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"]


class DraftForm(forms.Form):
    """A complete price list as lines: what is not in it has no price in this version."""

    lines = forms.CharField(
        label="Prices, one a line",
        widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false", "class": "mono"}),
        help_text="A service or meter that no line names has no price in this version.",
    )
    why = forms.CharField(label="Why", required=False, max_length=2000)
    version = forms.IntegerField(widget=forms.HiddenInput)

    def clean_lines(self) -> list[PriceLine]:
        found = []
        for number, line in enumerate(self.cleaned_data["lines"].splitlines(), start=1):
            cells = cells_of(number, line)
            if any(cells):
                found.append(price_line(number, cells))
        return found


def cells_of(number: int, line: str) -> list[str]:
    """Of one line: a quote that is left open takes none of the lines below with it."""
    try:
        rows = list(csv.reader([line], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise forms.ValidationError(f"Line {number}: {error}; write {COLUMNS}") from error
    return [cell.strip() for row in rows for cell in row]


def price_line(number: int, cells: list[str]) -> PriceLine:
    places = [cell.removeprefix(ON) for cell in cells[3:] if cell.startswith(ON)]
    classes = [cell for cell in cells[3:] if not cell.startswith(ON)]
    if len(cells) < 3 or len(places) > 1 or len(classes) > 1:
        raise forms.ValidationError(f"Line {number} has {len(cells)} parts; write {COLUMNS}")
    model, meter = ("" if cell == ANY else cell for cell in cells[:2])
    try:
        return read_line(model, meter, cells[2], "".join(classes), "".join(places).strip())
    except ValueError as error:
        raise forms.ValidationError(f"Line {number}: {error}") from error


class ProposeForm(forms.Form):
    starts_at = forms.DateTimeField(
        label="Holds from (UTC, full hour)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 3600}),
        input_formats=HOUR_FORMATS,
    )
    ends_at = forms.DateTimeField(
        label="Ends (UTC, full hour)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 3600}),
        input_formats=HOUR_FORMATS,
        help_text="Empty: until the next version",
    )
    why = forms.CharField(
        label="Why", required=False, max_length=2000, help_text="Needed when it begins in the past"
    )
    version = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, contract: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not contract:
            del self.fields["ends_at"]


class ContractForm(forms.Form):
    tenant = forms.ChoiceField(label="Tenant")

    def __init__(self, *args: Any, tenants: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].choices = tenants  # type: ignore[attr-defined]
