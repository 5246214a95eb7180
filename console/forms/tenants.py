"""Forms of tenants, applications, keys and quotas."""

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from tenants.actions.tenants import TenantFields
from tenants.queries.tenants import CLASSES
from tenants.rules.keys import SCOPES, Wish
from tenants.rules.quotas import Limits

CLASS_CHOICES = [(c, c.capitalize()) for c in CLASSES]
LIFETIMES = [("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("", "Until it is revoked")]


class TenantForm(forms.Form):
    name = forms.CharField(label="Name", help_text="What people call it; can change.")
    slug = forms.CharField(
        label="Short name",
        help_text="In addresses, labels and bills: small letters, digits, hyphens. It stays.",
    )
    traffic_class = forms.ChoiceField(
        label="Traffic class",
        choices=CLASS_CHOICES,
        initial="interactive",
        help_text="The highest class that its keys may have.",
    )
    currency = forms.CharField(
        label="Currency", initial="USD", max_length=3, help_text="Of budgets and bills. It stays."
    )
    time_zone = forms.CharField(
        label="Time zone",
        initial="UTC",
        help_text="Decides when its month, and so its budget, begins. As in Europe/Berlin.",
    )
    residency = forms.CharField(
        label="Allowed regions",
        required=False,
        help_text="Separated by spaces. Empty: any region.",
    )
    hosted_fallback = forms.BooleanField(
        label="Requests may leave for a platform that others run", required=False
    )
    confidential_only = forms.BooleanField(
        label="Only confidential computing may serve it", required=False
    )
    why = forms.CharField(label="Why", required=False, help_text="Kept in the audit record.")
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def for_change(self) -> "TenantForm":
        """Without what stays as it was made."""
        del self.fields["slug"], self.fields["currency"]
        return self

    def tenant_fields(self) -> TenantFields:
        given = self.cleaned_data
        return TenantFields(
            name=given["name"],
            traffic_class=given["traffic_class"],
            time_zone=given["time_zone"],
            residency=given["residency"].replace(",", " ").split(),
            hosted_fallback=given["hosted_fallback"],
            confidential_only=given["confidential_only"],
        )


class ApplicationForm(forms.Form):
    name = forms.CharField(label="Name")
    slug = forms.CharField(
        label="Short name", help_text="Small letters, digits, hyphens. It stays."
    )
    cost_centre = forms.CharField(
        label="Cost centre", required=False, help_text="Stands on bills and exports."
    )
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def for_change(self) -> "ApplicationForm":
        del self.fields["slug"]
        return self


class KeyForm(forms.Form):
    name = forms.CharField(label="Name", help_text="Where it is used: a job, a server, a person.")
    traffic_class = forms.ChoiceField(label="Traffic class", choices=CLASS_CHOICES)
    scopes = forms.MultipleChoiceField(
        label="May",
        choices=[("inference", "Send prompts"), ("models", "List models")],
        initial=list(SCOPES),
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )
    models = forms.MultipleChoiceField(
        label="Only these models",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: all that the tenant was granted, later ones too.",
    )
    lifetime = forms.ChoiceField(label="Lives for", choices=LIFETIMES, required=False, initial="90")
    once = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, granted: Iterable[str], ceiling: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["models"].choices = [(m, m) for m in granted]  # type: ignore[attr-defined]
        self.fields["traffic_class"].initial = ceiling
        self.fields["traffic_class"].help_text = f"The tenant's class is {ceiling}: not higher."

    def wish(self) -> Wish:
        given = self.cleaned_data
        models = tuple(given["models"]) or None
        return Wish(
            name=given["name"],
            scopes=tuple(given["scopes"]),
            served_models=models,
            traffic_class=given["traffic_class"],
            expires_at=self._expiry(),
        )

    def _expiry(self) -> datetime | None:
        days = self.cleaned_data["lifetime"]
        return timezone.now() + timedelta(days=int(days)) if days else None


class LimitsForm(forms.Form):
    requests_per_minute = forms.IntegerField(label="Requests a minute", required=False)
    tokens_per_minute = forms.IntegerField(label="Tokens a minute", required=False)
    concurrency = forms.IntegerField(label="Requests at once", required=False)
    monthly_budget = forms.DecimalField(
        label="Budget a month", required=False, max_digits=18, decimal_places=6
    )
    monthly_input_tokens = forms.IntegerField(
        label="Input tokens a month", required=False, help_text="Of prompts, cached ones too."
    )
    monthly_output_tokens = forms.IntegerField(label="Output tokens a month", required=False)
    monthly_tokens = forms.IntegerField(
        label="Tokens a month", required=False, help_text="Input and output together."
    )
    why = forms.CharField(label="Why", required=False, help_text="Kept in the audit record.")
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def limits(self) -> Limits:
        return Limits(**{f.name: self.cleaned_data[f.name] for f in fields(Limits)})


class QuotaForm(LimitsForm):
    application = forms.ChoiceField(label="Application", required=False)
    model = forms.ChoiceField(label="Model", required=False)
    field_order = ("application", "model")

    def __init__(
        self, *args: Any, applications: Iterable[str], models: Iterable[str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        of = [("", "The whole tenant"), *((a, a) for a in applications)]
        on = [("", "All models together"), *((m, m) for m in models)]
        self.fields["application"].choices = of  # type: ignore[attr-defined]
        self.fields["model"].choices = on  # type: ignore[attr-defined]
