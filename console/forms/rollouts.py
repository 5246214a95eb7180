"""The form of a rollout's plan."""

import re

from django import forms

from fleet.rules.audience import Asked
from fleet.rules.phases import PlanKind
from fleet.rules.plan import StepPlan
from fleet.rules.proposal import DEFAULT_SOAK, read_steps
from gateway.contract.outcomes import TrafficClass

LINE = re.compile(r"(\d{1,3})\s*%?[\s,:]+(\d{1,6})\s*s?[\s,:]+(\d{1,8})")


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
        help_text="One a line: percent, seconds to hold, samples needed. Empty: straight to 100 %.",
    )

    def clean_steps(self) -> tuple[StepPlan, ...]:
        rows = []
        for line in self.cleaned_data["steps"].splitlines():
            if not line.strip():
                continue
            match = LINE.fullmatch(line.strip())
            if not match:
                raise forms.ValidationError(f"'{line.strip()[:40]}' is not like: 25, 300, 100")
            percent, hold, samples = map(int, match.groups())
            rows.append({"percent": percent, "hold_seconds": hold, "min_samples": samples})
        try:
            return read_steps(rows)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


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
    first = forms.CharField(
        label="Go first: tenants, applications",
        required=False,
        max_length=2000,
        help_text="Like: acme, globex/chat. The first step is theirs alone.",
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

    def audience(self) -> Asked:
        given = self.cleaned_data
        return Asked(names_in(given["first"]), given["first_classes"], names_in(given["last"]))


def names_in(text: str) -> list[str]:
    return [name for name in re.split(r"[\s,;]+", text) if name]


def steps_text(steps: tuple[StepPlan, ...]) -> str:
    return "\n".join(f"{s.percent} %, {s.hold_seconds} s, {s.min_samples}" for s in steps)
