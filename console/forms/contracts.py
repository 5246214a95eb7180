"""The form of an output contract: prompts as JSON, because that is what one copies and compares."""

from django import forms

from fleet.rules.contract.prompts import LONGEST_SET


class ContractForm(forms.Form):
    version = forms.IntegerField(widget=forms.HiddenInput, min_value=0)
    prompts = forms.CharField(
        label="Prompts, as JSON",
        max_length=2 * LONGEST_SET,  # with the space that makes it readable
        widget=forms.Textarea(attrs={"rows": 18, "spellcheck": "false", "class": "mono"}),
        help_text="A list of at most 12. An empty list lifts the contract.",
    )
    why = forms.CharField(
        label="Why",
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Kept with the version. Not needed to try it.",
    )
