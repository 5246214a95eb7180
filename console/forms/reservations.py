"""Forms of reservations. They parse; actions decide what is allowed."""

from datetime import UTC, datetime
from typing import Any

from django import forms

from console.forms.money import HOUR_FORMATS


def hour_field(label: str, **more: Any) -> forms.DateTimeField:
    return forms.DateTimeField(
        label=label,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 3600}),
        input_formats=HOUR_FORMATS,
        **more,
    )


class ReservationForm(forms.Form):
    tenant = forms.ChoiceField(label="Tenant")
    product = forms.CharField(label="GPU product", max_length=120)
    gpus = forms.IntegerField(label="GPUs", min_value=1)
    cluster = forms.CharField(
        label="Cluster", max_length=63, required=False, help_text="Empty: any cluster"
    )
    node_pool = forms.CharField(
        label="Node pool", max_length=63, required=False, help_text="Empty: any pool"
    )
    starts_at = hour_field("Begins (UTC, full hour)")
    ends_at = hour_field(
        "Ends (UTC, full hour)", required=False, help_text="Empty: until somebody ends it"
    )
    why = forms.CharField(label="Why", max_length=2000, help_text="The contract, say")

    def __init__(self, *args: Any, tenants: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].choices = tenants  # type: ignore[attr-defined]

    def clean_starts_at(self) -> datetime:
        found: datetime = self.cleaned_data["starts_at"]
        return found.replace(tzinfo=UTC)

    def clean_ends_at(self) -> datetime | None:
        found: datetime | None = self.cleaned_data["ends_at"]
        return found.replace(tzinfo=UTC) if found else None


class EndForm(forms.Form):
    ends_at = hour_field("Ends (UTC, full hour)")
    why = forms.CharField(label="Why", max_length=2000, required=False)
    version = forms.IntegerField(widget=forms.HiddenInput)

    def clean_ends_at(self) -> datetime:
        found: datetime = self.cleaned_data["ends_at"]
        return found.replace(tzinfo=UTC)
