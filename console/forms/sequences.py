"""Forms of placements and of a sequence of rollouts."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django import forms

from console.forms.rollouts import names_in
from fleet.rules.gate_limits import limits_in
from fleet.rules.phases import PlanKind
from fleet.rules.proposal import read_lines
from fleet.rules.situation import StepPlan
from fleet.rules.stage_times import LINE, read_times


class PlacementsForm(forms.Form):
    members = forms.CharField(
        label="Services of other clusters",
        required=False,
        max_length=2000,
        help_text="In the order in which gateways prefer them, separated by commas. Empty: none.",
    )
    why = forms.CharField(label="Why", required=False, max_length=2000)

    def names(self) -> list[str]:
        return names_in(self.cleaned_data["members"])


class SequenceForm(forms.Form):
    release = forms.TypedChoiceField(label="Release", coerce=int)
    order = forms.CharField(
        label="Order",
        max_length=2000,
        help_text="Each service once: the first is where it may go wrong with the least harm.",
    )
    bake_minutes = forms.IntegerField(
        label="Bake, minutes",
        min_value=0,
        max_value=14 * 24 * 60,
        initial=60,
        help_text="So long a cluster serves it before the next begins.",
    )
    begins_from = forms.CharField(
        label="No earlier than",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text=f"One a line: {LINE}. Without a zone in UTC. Others begin at their turn.",
    )
    kind = forms.ChoiceField(
        label="Way",
        required=False,
        choices=[("", "The best one in each cluster at its turn")]
        + [(k.value, k.value.replace("_", " ").capitalize()) for k in PlanKind],
    )
    steps = forms.CharField(
        label="Steps before 100 %",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="One a line: percent, seconds to hold, samples needed. Empty: as usual.",
    )
    limits = forms.CharField(
        label="Limits of the gates",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="Those that are not as usual, one a line: ttft_ratio=1.5, cache_points=none.",
    )
    reason = forms.CharField(
        label="Why",
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="The approver reads this; it is kept in the record.",
    )

    def __init__(self, *args: Any, releases: Iterable[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(str(pk), label) for pk, label in releases]
        self.fields["release"].choices = choices  # type: ignore[attr-defined]

    def clean_steps(self) -> tuple[StepPlan, ...] | None:
        lines = [line for line in self.cleaned_data["steps"].splitlines() if line.strip()]
        if not lines:
            return None
        try:
            return read_lines(lines)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def clean_limits(self) -> dict[str, float | None]:
        lines = [line for line in self.cleaned_data["limits"].splitlines() if line.strip()]
        try:
            return limits_in(lines)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def clean_begins_from(self) -> dict[str, datetime]:
        try:
            return read_times(self.cleaned_data["begins_from"].splitlines())
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def chosen(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {
            "order": names_in(given["order"]),
            "bake_seconds": given["bake_minutes"] * 60,
            "begins_from": given["begins_from"],
            "kind": PlanKind(given["kind"]) if given["kind"] else None,
            "steps": given["steps"],
            "limits": given["limits"],
            "reason": given["reason"],
        }
