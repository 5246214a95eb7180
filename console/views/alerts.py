"""Alerts of a tenant's budgets: who is told, what was reached, how its delivery went."""

import json
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from billing.actions import alerts as actions
from billing.queries import alerts as queries
from billing.queries.money import find_tenant
from billing.rules.alerts import WORDS
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.alerts import AlertsForm, WebhookForm
from console.once import new_ticket, show_secret, use_ticket
from tenants.errors import ConsoleError
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission

COLUMNS = (
    "id", "alert__at", "alert__series", "alert__kind", "alert__period", "alert__threshold",
    "alert__spent", "alert__budget", "alert__currency", "webhook__url", "mail", "state", "tries",
    "answered", "why", "tried_at",
)  # fmt: skip
NOTE = "With it a receiver checks that a message is ours: by the header webhook-signature."

KEPT = "It is kept encrypted, to sign with, and no page or call gives it out again."


@require_http_methods(["GET", "POST"])
def show(request: ViewerRequest, slug: str) -> HttpResponse:
    """Settings, receivers, the alerts of all periods and each delivery."""
    tenant = find_tenant(request.viewer, slug)
    chosen = queries.get_settings(request.viewer, tenant.id)
    deliveries = queries.list_deliveries(request.viewer, tenant_id=tenant.id)
    if wants_file(request):
        return download(request, f"alerts-{slug}", COLUMNS, deliveries.values_list(*COLUMNS))
    form = AlertsForm(request.POST or None, initial=initial_of(chosen))
    if request.method == "POST" and form.is_valid():
        given = dict(form.cleaned_data)
        expected = given.pop("version")
        try:
            actions.change_settings(request.viewer, slug, expected=expected, **given)
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Alerts of {slug} are told by these settings from now on")
            return redirect("budget_alerts", slug=slug)
    alerts = queries.list_alerts(request.viewer, tenant_id=tenant.id)
    words = {kind.value: text for kind, text in WORDS.items()}
    context: dict[str, Any] = {
        "tenant": tenant,
        "chosen": chosen,
        "form": form,
        "webhooks": queries.list_webhooks(request.viewer, tenant.id),
        "alerts": [(a, json.loads(a.payload)["data"], words.get(a.kind, "")) for a in alerts[:20]],
        "page": Paginator(deliveries, 50).get_page(request.GET.get("page")),
        "may_manage": request.viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "alerts/show.html", context, status=422 if form.errors else 200)


def initial_of(chosen: queries.Settings) -> dict[str, Any]:
    return {
        "thresholds": ", ".join(map(str, chosen.thresholds)),
        "mails": "\n".join(chosen.mails),
        "version": chosen.version,
    }


@require_http_methods(["GET", "POST"])
def add(request: ViewerRequest, slug: str) -> HttpResponse:
    """A receiver. Its secret is shown once."""
    tenant = find_tenant(request.viewer, slug)
    request.viewer.require(Permission.MANAGE_MONEY, tenant.id)
    form = WebhookForm(request.POST or None, initial={"once": new_ticket()})
    if request.method == "POST" and form.is_valid():
        try:
            claim = use_ticket(request)
            url = form.cleaned_data["url"]
            row, secret = actions.add_webhook(request.viewer, slug, url, now=timezone.now())
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            title = f"Secret of {row.url}"
            back = reverse("budget_alerts", args=[slug])
            return show_secret(
                request, claim, title=title, secret=secret, note=NOTE, back=back, kept=KEPT
            )
    context = {"tenant": tenant, "form": form}
    return render(request, "alerts/webhook.html", context, status=422 if form.errors else 200)


@require_POST
def remove(request: ViewerRequest, webhook_id: int) -> HttpResponse:
    row = actions.remove_webhook(request.viewer, webhook_id, now=timezone.now())
    messages.success(request, f"Nothing more is sent to {row.url}")
    return to_alerts(row.tenant_id)


@require_POST
def resend(request: ViewerRequest, delivery_id: int) -> HttpResponse:
    row = actions.send_again(request.viewer, delivery_id, now=timezone.now())
    messages.success(request, "It is sent again within seconds")
    return to_alerts(row.tenant_id)


def to_alerts(tenant_id: int) -> HttpResponse:
    return redirect("budget_alerts", slug=tenant_refs([tenant_id])[tenant_id].slug)
