"""Forms of webhooks. They parse; actions decide what is allowed."""

from typing import Any

from django import forms

from billing.rules.addresses import LONGEST
from billing.rules.webhooks import SAID
from console.forms.selects import LongSelect

KINDS = tuple((kind.value, f"{kind.value}: {said}") for kind, said in SAID.items())


class WebhookFields(forms.Form):
    url = forms.CharField(
        label="Address",
        max_length=LONGEST,
        widget=forms.URLInput(attrs={"placeholder": "https://", "spellcheck": "false"}),
        help_text="It gets a POST, signed as Standard Webhooks has it",
    )
    kinds = forms.MultipleChoiceField(
        label="Is told when", choices=KINDS, widget=forms.CheckboxSelectMultiple
    )


class WebhookForm(WebhookFields):
    version = forms.IntegerField(widget=forms.HiddenInput)


class NewWebhookForm(WebhookFields):
    tenant = forms.ChoiceField(
        label="Of", required=False, widget=LongSelect,
        help_text="The operator's own receiver is told of all tenants",
    )  # fmt: skip
    once = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, tenants: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].choices = tenants  # type: ignore[attr-defined]
