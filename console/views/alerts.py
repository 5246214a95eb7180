"""Alerts of a tenant's budgets: who is told, what was reached, how its delivery went."""

import json
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from billing.actions import alerts as actions
from billing.queries import alerts as queries
from billing.queries import events
from billing.queries.money import find_tenant
from billing.rules.alerts import WORDS
from billing.rules.webhooks import Kind
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.alerts import AlertsForm
from tenants.errors import ConsoleError
from tenants.rules.access import Permission

COLUMNS = (
    "id", "event__at", "event__alert__series", "event__alert__kind", "event__alert__period",
    "event__alert__threshold", "event__alert__spent", "event__alert__budget",
    "event__alert__currency", "webhook__url", "mail", "state", "tries", "answered", "why",
    "tried_at",
)  # fmt: skip


@require_http_methods(["GET", "POST"])
def show(request: ViewerRequest, slug: str) -> HttpResponse:
    """Settings, receivers, the alerts of all periods and each delivery."""
    tenant = find_tenant(request.viewer, slug)
    chosen = queries.get_settings(request.viewer, tenant.id)
    deliveries = events.list_deliveries(request.viewer, tenant_id=tenant.id, kind=Kind.BUDGET.value)
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
        "webhooks": [
            w
            for w in events.list_webhooks(request.viewer, tenant_id=tenant.id)
            if Kind.BUDGET in w.kinds
        ],
        "alerts": [
            (a, json.loads(a.event.payload)["data"], words.get(a.kind, "")) for a in alerts[:20]
        ],
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
