"""The form that chooses a method of sharing cost. It parses; the action decides."""

from django import forms

from billing.rules.allocation import METHODS
from console.forms.money import HOUR_FORMATS


class MethodForm(forms.Form):
    method = forms.ChoiceField(choices=[(name, name) for name in METHODS])
    starts_at = forms.DateTimeField(
        label="Counts from (UTC, full hour)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 3600}),
        input_formats=HOUR_FORMATS,
        help_text="It must lie ahead: hours that began keep their method",
    )
    why = forms.CharField(label="Why", max_length=2000)
