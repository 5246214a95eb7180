"""Forms of prices and exports. They parse; what is allowed is decided by the actions."""

import csv
from datetime import UTC, datetime, time, timedelta
from io import StringIO
from typing import Any

from django import forms

from billing.rules.prices import PriceLine, read_line
from console.forms.selects import LongSelect

FORMATS = (
    ("csv", "Our own columns"),
    ("focus-1.4", "FOCUS 1.4"),
    ("focus-1.3", "FOCUS 1.3"),
    ("focus-1.2", "FOCUS 1.2"),
)
FILE_TYPES = (("csv", "CSV"), ("parquet", "Parquet"), ("xlsx", "XLSX, up to 100,000 rows"))
COLUMNS = "service, meter, price, class"
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
        rows = csv.reader(StringIO(self.cleaned_data["lines"]), skipinitialspace=True)
        for number, row in enumerate(rows, start=1):
            if not any(cell.strip() for cell in row):
                continue
            found.append(price_line(number, [cell.strip() for cell in row]))
        return found


def price_line(number: int, cells: list[str]) -> PriceLine:
    if len(cells) not in (3, 4):
        raise forms.ValidationError(f"Line {number} has {len(cells)} parts; write {COLUMNS}")
    model, meter = ("" if cell == ANY else cell for cell in cells[:2])
    try:
        return read_line(model, meter, cells[2], cells[3] if len(cells) == 4 else "")
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


class ExportForm(forms.Form):
    """Days are whole UTC days; the last one is part of the file."""

    format = forms.ChoiceField(label="Format", choices=FORMATS, initial="focus-1.4")
    file_type = forms.ChoiceField(label="File", choices=FILE_TYPES, initial="csv", required=False)
    tenant = forms.ChoiceField(label="Of", required=False, widget=LongSelect)
    first = forms.DateField(label="First day", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label="Last day", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, *args: Any, tenants: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].choices = tenants  # type: ignore[attr-defined]

    def span(self) -> dict[str, Any]:
        first, last = self.cleaned_data["first"], self.cleaned_data["last"] + timedelta(days=1)
        return {
            "starts_at": datetime.combine(first, time(), UTC),
            "ends_at": datetime.combine(last, time(), UTC),
        }


class ScheduleForm(forms.Form):
    name = forms.CharField(label="Name", max_length=120)
    format = forms.ChoiceField(label="Format", choices=FORMATS, initial="focus-1.4")
    file_type = forms.ChoiceField(label="File", choices=FILE_TYPES, initial="csv", required=False)
    tenant = forms.ChoiceField(label="Of", required=False, widget=LongSelect)
    local_time = forms.TimeField(
        label="Every day at", widget=forms.TimeInput(attrs={"type": "time"}), initial="02:00"
    )
    time_zone = forms.CharField(label="Time zone (IANA)", max_length=64, initial="UTC")

    def __init__(self, *args: Any, tenants: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].choices = tenants  # type: ignore[attr-defined]
