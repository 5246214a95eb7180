"""Forms of exports. They parse; what is allowed is decided by the actions."""

from dataclasses import fields
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from billing.actions.schedules import Terms
from billing.rules import years
from billing.rules.addresses import LONGEST
from billing.rules.datasets import DATASETS
from billing.rules.destinations import LONGEST_SECRET, Target
from billing.rules.schedules import LAST_DAY, Rhythm
from console.forms.selects import LongSelect

DAY = forms.DateInput(attrs={"type": "date"})
KNOWN = (MinValueValidator(years.FIRST_DAY), MaxValueValidator(years.LAST_DAY))
FORMATS = tuple((name, dataset.label) for name, dataset in DATASETS.items())
WAYS = (("POST", "POST"), ("PUT", "PUT"), ("S3", "Put into a bucket (S3-compatible)"))
RHYTHMS = (
    ("daily", "Every day: the month to the day before"),
    ("weekly", "Every week: the seven days before"),
    ("monthly", "Every month: the month before"),
)
FILE_TYPES = (("csv", "CSV"), ("parquet", "Parquet"), ("xlsx", "XLSX, up to 100,000 rows"))


class ExportForm(forms.Form):
    """Whole days of the tenant's zone, of UTC for the fleet; the last one is part of the file."""

    format = forms.ChoiceField(label="What", choices=FORMATS, initial="focus-1.4")
    file_type = forms.ChoiceField(label="File", choices=FILE_TYPES, initial="csv", required=False)
    tenant = forms.ChoiceField(label="Of", required=False, widget=LongSelect)
    first = forms.DateField(label="First day", widget=DAY, validators=KNOWN)
    last = forms.DateField(label="Last day", widget=DAY, validators=KNOWN)
    destination = forms.ChoiceField(label="Deliver to", required=False)

    def __init__(
        self,
        *args: Any,
        tenants: list[tuple[str, str]],
        receivers: list[tuple[int, str]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].choices = tenants  # type: ignore[attr-defined]
        chosen = [("", "The folder alone"), *receivers]
        self.fields["destination"].choices = chosen  # type: ignore[attr-defined]

    def span(self, time_zone: str) -> dict[str, Any]:
        zone = ZoneInfo(time_zone)
        first, last = self.cleaned_data["first"], self.cleaned_data["last"] + timedelta(days=1)
        return {
            "starts_at": datetime.combine(first, time(), zone),
            "ends_at": datetime.combine(last, time(), zone),
        }


class ScheduleFields(forms.Form):
    name = forms.CharField(label="Name", max_length=120)
    format = forms.ChoiceField(label="What", choices=FORMATS, initial="focus-1.4")
    file_type = forms.ChoiceField(label="File", choices=FILE_TYPES, initial="csv", required=False)
    rhythm = forms.ChoiceField(label="How often", choices=RHYTHMS, required=False)
    day = forms.IntegerField(
        label="On day", initial=1, min_value=1, max_value=LAST_DAY, required=False,
        help_text="Weekly: 1 is Monday. Monthly: 1 to 28. A daily one has none.",
    )  # fmt: skip
    local_time = forms.TimeField(
        label="At", widget=forms.TimeInput(attrs={"type": "time"}), initial="02:00"
    )
    time_zone = forms.CharField(label="Time zone (IANA)", max_length=64, initial="UTC")
    destination = forms.ChoiceField(label="Deliver to", required=False)

    def __init__(self, *args: Any, receivers: list[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = [("", "The folder alone"), *receivers]
        self.fields["destination"].choices = chosen  # type: ignore[attr-defined]

    def terms(self) -> Terms:
        given = self.cleaned_data
        rhythm = given["rhythm"] or Rhythm.DAILY.value
        return {
            "name": given["name"],
            "format": given["format"],
            "file_type": given["file_type"] or "csv",
            "local_time": given["local_time"],
            "time_zone": given["time_zone"],
            "rhythm": rhythm,
            "day": 1 if rhythm == Rhythm.DAILY else given["day"] or 1,
        }

    @property
    def receiver(self) -> int:
        """0: the folder alone."""
        return int(self.cleaned_data["destination"] or 0)


class ScheduleForm(ScheduleFields):
    tenant = forms.ChoiceField(label="Of", required=False, widget=LongSelect)

    def __init__(self, *args: Any, tenants: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].choices = tenants  # type: ignore[attr-defined]


class ScheduleChangeForm(ScheduleFields):
    version = forms.IntegerField(widget=forms.HiddenInput)


class LedgerAccountForm(forms.Form):
    number = forms.CharField(label="Number", max_length=32)
    name = forms.CharField(label="Name", max_length=120, required=False)
    version = forms.IntegerField(widget=forms.HiddenInput)


class SecretKeyField(forms.CharField):
    """Typed in once, and never shown again."""

    def __init__(self, *, required: bool) -> None:
        super().__init__(
            label="Secret access key",
            required=required,
            max_length=LONGEST_SECRET,
            strip=True,
            widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
            help_text="Of a bucket. For POST and PUT a secret is made and shown once",
        )


class DestinationFields(forms.Form):
    name = forms.CharField(label="Name", max_length=120)
    url = forms.CharField(
        label="Address",
        max_length=LONGEST,
        widget=forms.URLInput(attrs={"placeholder": "https://", "spellcheck": "false"}),
        help_text="Public and https. With PUT and S3, the name of each file is added to it.",
    )
    method = forms.ChoiceField(label="How", choices=WAYS)
    region = forms.CharField(
        label="Region", max_length=32, required=False, help_text="Of a bucket, as in eu-central-1"
    )
    access_key = forms.CharField(
        label="Access key", max_length=128, required=False, help_text="Of a bucket: its id"
    )

    def target(self) -> Target:
        return Target(**{f.name: self.cleaned_data[f.name] for f in fields(Target)})


class DestinationForm(DestinationFields):
    version = forms.IntegerField(widget=forms.HiddenInput)


class NewDestinationForm(DestinationFields):
    tenant = forms.ChoiceField(
        label="For files of", required=False, widget=LongSelect,
        help_text="A tenant's receiver gets files of that tenant alone.",
    )  # fmt: skip
    secret_key = SecretKeyField(required=False)
    once = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, tenants: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].choices = tenants  # type: ignore[attr-defined]


class BucketKeyForm(forms.Form):
    secret_key = SecretKeyField(required=True)
    once = forms.CharField(widget=forms.HiddenInput)


class DeliverForm(forms.Form):
    destination = forms.ChoiceField(label="Deliver to")

    def __init__(self, *args: Any, receivers: list[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["destination"].choices = receivers  # type: ignore[attr-defined]
