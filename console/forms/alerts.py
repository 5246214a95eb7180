"""Forms of budget alerts. They parse; actions decide what is allowed."""

from django import forms


class AlertsForm(forms.Form):
    thresholds = forms.CharField(
        label="Thresholds",
        max_length=100,
        help_text="Percents of the budget, with commas: 50, 80, 100",
    )
    mails = forms.CharField(
        label="Mail to",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="One address a line. Empty: nobody",
    )
    version = forms.IntegerField(widget=forms.HiddenInput)

    def clean_thresholds(self) -> list[int]:
        parts = [p.strip().rstrip("% ") for p in self.cleaned_data["thresholds"].split(",")]
        try:
            return [int(p) for p in parts if p]
        except ValueError as error:
            raise forms.ValidationError("Write whole percents, as in 50, 80, 100") from error

    def clean_mails(self) -> list[str]:
        found: list[str] = self.cleaned_data["mails"].split()
        return found
