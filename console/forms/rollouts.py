"""The form of a rollout's plan."""

import re
from collections.abc import Sequence
from typing import Any

from django import forms
from django.forms import BoundField

from console.forms.gate_limits import limit_bounds, limit_fields, limits_in
from fleet.rules.audience import Asked
from fleet.rules.begins_within import BeginsWithin
from fleet.rules.phases import PlanKind
from fleet.rules.proposal import DEFAULT_SOAK, line_of, read_lines
from fleet.rules.situation import StepPlan
from gateway.contract.outcomes import TrafficClass


class PlanForm(forms.Form):
    """What one may choose before proposing. It is computed again at the proposal."""

    replicas = forms.IntegerField(label="Replicas at the end", min_value=1, max_value=512)
    soak_seconds = forms.IntegerField(
        label="Soak, seconds",
        min_value=0,
        max_value=7 * 86400,
        initial=DEFAULT_SOAK,
        help_text="The old release stays warm that long after 100 %.",
    )
    steps = forms.CharField(
        label="Steps before 100 %",
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="One a line: percent, seconds to hold, samples needed. Empty: straight to 100 %."
        " 'shadow 10, 300, 50' copies 10 % of the requests first; no client gets those answers.",
    )

    def clean_steps(self) -> tuple[StepPlan, ...]:
        try:
            return read_lines(self.cleaned_data["steps"].splitlines())
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


def moment(label: str, help_text: str) -> forms.DateTimeField:
    """Read as UTC, as all times of the console are."""
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    return forms.DateTimeField(label=label, help_text=help_text, required=False, widget=widget)


class ProposeForm(PlanForm):
    kind = forms.TypedChoiceField(
        choices=[(k.value, k.value) for k in PlanKind], coerce=PlanKind, label="Way"
    )
    reason = forms.CharField(
        label="Why",
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="The approver reads this; it is kept in the record.",
    )
    consent = forms.BooleanField(
        label="I accept less capacity than is needed, or none for a time",
        required=False,
        help_text="Asked for by ways that need consent; they are refused without it.",
    )
    begins_from = moment("Begins no earlier than (UTC)", "Empty: as soon as it is approved.")
    begins_before = moment(
        "Begins no later than (UTC)",
        "After that the approval has expired. Empty: whenever its turn comes.",
    )
    supersede = forms.BooleanField(
        label="Abort the open rollout of this service; this one begins when that has ended",
        required=False,
    )
    first = forms.CharField(
        label="Go first: tenants, applications",
        required=False,
        max_length=2000,
        help_text="Like: acme, globex/chat. Shadows and the first step are theirs alone.",
    )
    first_classes = forms.MultipleChoiceField(
        label="Go first: traffic classes",
        required=False,
        choices=[(c.value, c.value.capitalize()) for c in TrafficClass],
        widget=forms.CheckboxSelectMultiple,
    )
    last = forms.CharField(
        label="Last: tenants",
        required=False,
        max_length=2000,
        help_text="They keep the old release until all gates passed.",
    )

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields.update(limit_fields())

    @property
    def limit_fields(self) -> list[BoundField]:
        return limit_bounds(self)

    @property
    def limits_are_wrong(self) -> bool:
        return any(field.errors for field in self.limit_fields)

    def limits(self) -> dict[str, float | None]:
        return limits_in(self)

    def audience(self) -> Asked:
        given = self.cleaned_data
        return Asked(names_in(given["first"]), given["first_classes"], names_in(given["last"]))

    def begins(self) -> BeginsWithin:
        given = self.cleaned_data
        return BeginsWithin(given["begins_from"], given["begins_before"])


def names_in(text: str) -> list[str]:
    return [name for name in re.split(r"[\s,;]+", text) if name]


def steps_text(steps: Sequence[StepPlan]) -> str:
    return "\n".join(line_of(step) for step in steps)
