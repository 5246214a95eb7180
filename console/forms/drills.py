"""The forms of drills: of the way back, of a lost pod."""

from collections.abc import Iterable
from typing import Any

from django import forms

from fleet.rules.drill import USUAL, Limits, Moment
from fleet.rules.phases import PlanKind
from fleet.rules.pod_loss import USUAL as LOSS
from fleet.rules.proposal import read_lines
from fleet.rules.situation import StepPlan


class PodLossForm(forms.Form):
    traffic_back = forms.FloatField(
        label="Gateways without it within, seconds", min_value=0.1, max_value=86400,
        initial=LOSS.traffic_back_seconds,
        help_text="Until they are told of the killed pod no more.",
    )  # fmt: skip
    full_back = forms.FloatField(
        label="Another one serves within, seconds", min_value=0.1, max_value=86400,
        initial=LOSS.full_back_seconds,
    )  # fmt: skip
    lost = forms.IntegerField(
        label="Requests that may be lost", min_value=0, initial=LOSS.requests_lost,
        help_text="What the killed engine was answering is cut: allow for it.",
    )  # fmt: skip
    reason = forms.CharField(
        label="Why",
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="The approver reads this; it is kept in the report.",
    )
    consent = forms.BooleanField(
        label="I accept that the only replica is killed, if there is one only", required=False
    )

    def chosen(self) -> dict[str, Any]:
        """As `propose_pod_loss` takes it."""
        given = self.cleaned_data
        return {
            "limits": Limits(given["traffic_back"], given["full_back"], given["lost"]),
            "reason": given["reason"],
            "consent": given["consent"],
        }


class DrillForm(forms.Form):
    release = forms.TypedChoiceField(
        label="Release",
        coerce=int,
        help_text="It is rolled out as usual, and taken back. What serves now serves afterwards.",
    )
    moment = forms.TypedChoiceField(
        label="Take it back",
        coerce=Moment,
        choices=[
            (Moment.CANARY.value, "While the canary is verified, before traffic"),
            (Moment.STEP.value, "At a step, with part of the traffic"),
            (Moment.PROMOTING.value, "While it promotes"),
            (Moment.SOAKING.value, "While it soaks, with all of the traffic"),
        ],
    )
    step = forms.IntegerField(
        label="Which step", min_value=1, initial=1, help_text="Counts for a step only."
    )
    kind = forms.ChoiceField(
        label="Way",
        required=False,
        choices=[("", "The best one")]
        + [(k.value, k.value.replace("_", " ").capitalize()) for k in PlanKind],
    )
    steps = forms.CharField(
        label="Steps before 100 %",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="One a line: percent, seconds to hold, samples needed. Empty: as usual.",
    )
    traffic_back = forms.FloatField(
        label="All traffic back within, seconds", min_value=0.1, max_value=86400,
        initial=USUAL.traffic_back_seconds,
    )  # fmt: skip
    full_back = forms.FloatField(
        label="Everything back within, seconds", min_value=0.1, max_value=86400,
        initial=USUAL.full_back_seconds,
    )  # fmt: skip
    lost = forms.IntegerField(
        label="Requests that may be lost", min_value=0, initial=USUAL.requests_lost
    )
    reason = forms.CharField(
        label="Why",
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="The approver reads this; it is kept in the report.",
    )
    consent = forms.BooleanField(
        label="I accept less capacity than is needed, or none for a time", required=False
    )

    def __init__(self, *args: Any, releases: Iterable[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["release"]
        field.choices = list(releases)

    def clean_steps(self) -> tuple[StepPlan, ...] | None:
        lines = self.cleaned_data["steps"].splitlines()
        try:
            return read_lines(lines) if lines else None
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def chosen(self) -> dict[str, Any]:
        """As `propose_drill` takes it."""
        given = self.cleaned_data
        return {
            "moment": given["moment"],
            "step": given["step"],
            "kind": PlanKind(given["kind"]) if given["kind"] else None,
            "steps": given["steps"],
            "limits": Limits(given["traffic_back"], given["full_back"], given["lost"]),
            "reason": given["reason"],
            "consent": given["consent"],
        }
