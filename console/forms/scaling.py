"""The form of a scaling policy."""

from datetime import timedelta
from typing import Any

from django import forms

from fleet.queries.scaling import PolicyRow
from fleet.rules.scaling import Policy
from fleet.rules.schedule import LINE, Bounds, Hours, hours_text, read_hours

NEW_POLICY = {
    "min_replicas": 1,
    "max_replicas": 4,
    "target": 16,
    "stable_seconds": 300,
    "pause_seconds": 60,
    "zone": "UTC",
}


class ScalingForm(forms.Form):
    min_replicas = forms.IntegerField(
        label="At least, replicas", help_text="Also without any request."
    )
    max_replicas = forms.IntegerField(
        label="At most, replicas", help_text="Kept at once, whatever the load."
    )
    target = forms.IntegerField(
        label="Requests in flight of one replica",
        help_text="Running and waiting ones. More in flight than that needs another replica.",
    )
    stable_seconds = forms.IntegerField(
        label="Less load for, seconds",
        max_value=86_400,
        help_text="The highest load of so long must fit into fewer replicas; never shorter than"
        " a start takes.",
    )
    pause_seconds = forms.IntegerField(
        label="Between two steps down, seconds",
        max_value=3_600,
        help_text="One replica goes at a time.",
    )
    zone = forms.CharField(
        label="Time zone of the hours", help_text="Europe/Berlin, for example.", max_length=64
    )
    hours = forms.CharField(
        label="Hours with other bounds",
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text=f"One a line, like: {LINE}. Where hours overlap, the most capacity counts.",
    )
    why = forms.CharField(
        label="Why", required=False, max_length=2000, help_text="It is kept in the record."
    )
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def clean_hours(self) -> tuple[Hours, ...]:
        try:
            return read_hours(self.cleaned_data["hours"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def policy(self) -> Policy:
        given = self.cleaned_data
        return Policy(
            always=Bounds(given["min_replicas"], given["max_replicas"]),
            target=given["target"],
            stable=timedelta(seconds=given["stable_seconds"]),
            pause=timedelta(seconds=given["pause_seconds"]),
            hours=given["hours"],
            zone=given["zone"],
        )


def initial(policy: PolicyRow | None) -> dict[str, Any]:
    if policy is None:
        return dict(NEW_POLICY)
    found = {name: getattr(policy, name) for name in (*NEW_POLICY, "version")}
    return found | {"hours": hours_text(policy.hours)}
