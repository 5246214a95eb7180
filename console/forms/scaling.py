"""The form of a scaling policy."""

from datetime import timedelta
from typing import Any

from django import forms

from fleet.queries.scaling import PolicyRow
from fleet.rules.scaling import Policy
from fleet.rules.schedule import LINE, Bounds, Hours, hours_text, read_hours
from fleet.rules.sleep import Sleep

NEW_POLICY = {
    "min_replicas": 1,
    "max_replicas": 4,
    "target": 16,
    "stable_seconds": 300,
    "pause_seconds": 60,
    "zone": "UTC",
    "idle_seconds": 900,
    "wait_seconds": 300,
    "max_waiting": 64,
}


class ScalingForm(forms.Form):
    min_replicas = forms.IntegerField(
        label="At least, replicas",
        help_text="Also without any request. At 0 it sleeps when nobody asks.",
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
    idle_seconds = forms.IntegerField(
        label="Sleeps after, seconds",
        max_value=604_800,
        help_text="Without a request, where the minimum is 0; never sooner than two starts take.",
    )
    wait_seconds = forms.IntegerField(
        label="A request waits at most, seconds",
        max_value=3_600,
        help_text="For the service to wake. Give it more than a start takes.",
    )
    max_waiting = forms.IntegerField(
        label="Requests that may wait",
        max_value=10_000,
        help_text="For it to wake, in all gateways together. The next one is refused at once.",
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
            sleep=Sleep(
                idle=timedelta(seconds=given["idle_seconds"]),
                wait=timedelta(seconds=given["wait_seconds"]),
                most=given["max_waiting"],
            ),
        )


def initial(policy: PolicyRow | None) -> dict[str, Any]:
    if policy is None:
        return dict(NEW_POLICY)
    found = {name: getattr(policy, name) for name in (*NEW_POLICY, "version")}
    return found | {"hours": hours_text(policy.hours)}
