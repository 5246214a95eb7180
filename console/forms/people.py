"""Forms of people, tokens and usage sources."""

from collections.abc import Iterable
from typing import Any

from django import forms

from tenants.rules.access import Permission, Role

ROLE_WORDS = {
    Role.OPERATOR: "Operator: tenants, keys, fleet, people",
    Role.APPROVER: "Approver: decides what others propose",
    Role.FINANCE: "Finance: prices, bills, exports",
    Role.VIEWER: "Viewer: looks, changes nothing",
}
PERMISSION_WORDS = {
    Permission.VIEW: "See tenants, quotas and requests",
    Permission.VIEW_MONEY: "See usage, charges and exports",
    Permission.VIEW_FLEET: "See clusters, releases and rollouts",
    Permission.MANAGE_TENANTS: "Change tenants, models and quotas",
    Permission.MANAGE_KEYS: "Change applications and API keys",
    Permission.MANAGE_FLEET: "Change clusters, services and releases",
    Permission.PROPOSE: "Propose rollouts",
    Permission.APPROVE: "Decide what others propose",
    Permission.MANAGE_MONEY: "Change prices, run exports",
    Permission.MANAGE_PEOPLE: "Invite people, give roles",
}


class RoleForm(forms.Form):
    role = forms.ChoiceField(
        label="Role", choices=[(r.value, text) for r, text in ROLE_WORDS.items()], initial="viewer"
    )
    tenant = forms.CharField(
        label="Only in this tenant",
        required=False,
        max_length=63,
        widget=forms.TextInput(attrs={"list": "known-tenants", "autocomplete": "off"}),
        help_text="Empty: the whole fleet. In one tenant, a role reaches that tenant's slice only.",
    )


class InviteForm(RoleForm):
    email = forms.CharField(label="E-mail", help_text="The name to sign in with.")
    name = forms.CharField(label="Name", required=False)
    why = forms.CharField(label="Why", required=False, help_text="Kept in the audit record.")
    once = forms.CharField(widget=forms.HiddenInput)
    field_order = ("email", "name", "role", "tenant", "why")


class TokenForm(forms.Form):
    name = forms.CharField(label="Name", help_text="What will use it.")
    permissions = forms.MultipleChoiceField(
        label="May", widget=forms.CheckboxSelectMultiple, required=False
    )
    days = forms.IntegerField(
        label="Lives for, days", initial=90, help_text="At most 365; then make another."
    )
    networks = forms.CharField(
        label="Only from", required=False, widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Networks, one a line, as 203.0.113.0/24. Empty: from anywhere.",
    )  # fmt: skip
    once = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, allowed: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(p, PERMISSION_WORDS.get(Permission(p), p)) for p in allowed]
        self.fields["permissions"].choices = choices  # type: ignore[attr-defined]

    def clean_networks(self) -> list[str]:
        found: list[str] = self.cleaned_data["networks"].split()
        return found


class SourceForm(forms.Form):
    name = forms.CharField(
        label="Short name", help_text="One for each gateway installation, as in gateway-fra."
    )
    tenants = forms.CharField(
        label="Only for these tenants", required=False,
        help_text="Short names with commas. None: it reports for all tenants.",
    )  # fmt: skip
    once = forms.CharField(widget=forms.HiddenInput)
