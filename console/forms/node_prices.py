"""The form of a sheet of node prices. It parses; actions decide what is allowed."""

from django import forms

from billing.rules.node_lines import read_lines
from billing.rules.node_prices import NodeLine


class SheetForm(forms.Form):
    """A complete sheet as lines: nodes that no line is for have no price."""

    currency = forms.CharField(label="Currency", max_length=3)
    lines = forms.CharField(
        label="Prices, one a line",
        widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false", "class": "mono"}),
        help_text="GPUs that no line is for have no price: their time is listed, never zero.",
    )
    why = forms.CharField(label="Why", required=False, max_length=2000)
    version = forms.IntegerField(widget=forms.HiddenInput)

    def clean_lines(self) -> list[NodeLine]:
        try:
            return read_lines(self.cleaned_data["lines"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
