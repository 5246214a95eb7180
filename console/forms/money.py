"""Forms of prices and exports. They parse; what is allowed is decided by the actions."""

import csv
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from io import StringIO
from typing import Any

from django import forms

from billing.rules.prices import PriceLine
from console.forms.selects import LongSelect

FORMATS = (("csv", "CSV, our own columns"), ("focus-1.4", "FOCUS 1.4"), ("focus-1.2", "FOCUS 1.2"))
COLUMNS = "service, meter, price, class"


class DraftForm(forms.Form):
    """A complete price list as lines: what is not in it has no price in this version."""

    lines = forms.CharField(
        label="Prices, one a line",
        widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false", "class": "mono"}),
        help_text=f"{COLUMNS}. Meters: prompt, cached, completion (for a million tokens), request "
        "(for 1,000), gpu_second. Leave the class out to price every class.",
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
    try:
        price = Decimal(cells[2])
    except InvalidOperation as error:
        raise forms.ValidationError(f"Line {number}: '{cells[2][:30]}' is no price") from error
    return PriceLine(cells[0], cells[1], price, cells[3] if len(cells) == 4 else "")


class PublishForm(forms.Form):
    starts_at = forms.DateTimeField(
        label="Holds from (UTC, full hour)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 3600}),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"],
    )
    why = forms.CharField(
        label="Why", required=False, max_length=2000, help_text="Needed when it begins in the past"
    )
    version = forms.IntegerField(widget=forms.HiddenInput)


class ExportForm(forms.Form):
    """Days are whole UTC days; the last one is part of the file."""

    format = forms.ChoiceField(label="Format", choices=FORMATS, initial="focus-1.4")
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
    tenant = forms.ChoiceField(label="Of", required=False, widget=LongSelect)
    local_time = forms.TimeField(
        label="Every day at", widget=forms.TimeInput(attrs={"type": "time"}), initial="02:00"
    )
    time_zone = forms.CharField(label="Time zone (IANA)", max_length=64, initial="UTC")

    def __init__(self, *args: Any, tenants: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].choices = tenants  # type: ignore[attr-defined]
