"""Webhooks of finance: receivers, what happened, and each delivery."""

import json
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from billing.actions import webhooks as actions
from billing.queries import events as queries
from billing.rules.webhooks import KINDS
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.webhooks import NewWebhookForm, WebhookForm
from console.once import new_ticket, show_secret, use_ticket
from console.views.exports import tenant_choices, tenant_id, tenant_ids
from tenants.errors import ConsoleError, Forbidden
from tenants.rules.access import Permission

DELIVERIES = (
    "id", "created_at", "event__kind", "event__subject", "webhook__url", "mail", "state", "tries",
    "answered", "why", "tried_at",
)  # fmt: skip
EVENTS = ("id", "at", "tenant_id", "kind", "subject", "payload")
NOTE = "With it a receiver checks that a message is ours: by the header webhook-signature."
KEPT = "It is kept encrypted, to sign with, and no page or call gives it out again."


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Receivers, and what was sent to them, newest first."""
    kind = chosen_kind(request)
    deliveries = queries.list_deliveries(request.viewer, kind=kind)
    if wants_file(request):
        return download(request, "deliveries", DELIVERIES, deliveries.values_list(*DELIVERIES))
    names = tenant_ids(request)
    context = {
        "webhooks": [(w, whose(names, w)) for w in queries.list_webhooks(request.viewer)],
        "page": Paginator(deliveries, 50).get_page(request.GET.get("page")),
        "kinds": KINDS,
        "kind": kind,
        "may_manage": request.viewer.may_somewhere(Permission.MANAGE_MONEY),
    }
    return render(request, "webhooks/index.html", context)


@require_GET
def events(request: ViewerRequest) -> HttpResponse:
    """What happened, whether a receiver was told of it or not."""
    kind = chosen_kind(request)
    rows = queries.list_events(request.viewer, kind=kind)
    if wants_file(request):
        return download(request, "events", EVENTS, rows.values_list(*EVENTS))
    names = tenant_ids(request)
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "events": [
            (e, names.get(e.tenant_id or 0, ""), json.dumps(json.loads(e.payload), indent=2))
            for e in page.object_list
        ],
        "kinds": KINDS,
        "kind": kind,
    }
    return render(request, "webhooks/events.html", context)


def chosen_kind(request: ViewerRequest) -> str:
    kind = request.GET.get("kind", "")
    return kind if kind in KINDS else ""


def whose(names: dict[int, str], webhook: Any) -> str:
    return names.get(webhook.tenant_id or 0, "all tenants")


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    """A receiver. Its secret is shown once. `tenant` and `kind` choose for a start."""
    if not request.viewer.may_somewhere(Permission.MANAGE_MONEY):
        raise Forbidden("Receivers are made by who may change money: ask for the role 'finance'")
    initial = {
        "once": new_ticket(),
        "tenant": request.GET.get("tenant", ""),
        "kinds": [chosen_kind(request)] if chosen_kind(request) else KINDS,
    }
    form = NewWebhookForm(request.POST or None, initial=initial, tenants=tenant_choices(request))
    if request.method == "POST" and form.is_valid():
        claim = use_ticket(request)
        given = form.cleaned_data
        try:
            row, secret = actions.add_webhook(
                request.viewer, given["url"], given["kinds"],
                tenant_id=tenant_id(request, given["tenant"]),
            )  # fmt: skip
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            title, back = f"Secret of {row.url}", reverse("webhooks")
            return show_secret(
                request, claim, title=title, secret=secret, note=NOTE, back=back, kept=KEPT
            )
    context = {"form": form, "webhook": None}
    return render(request, "webhooks/form.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def edit(request: ViewerRequest, webhook_id: int) -> HttpResponse:
    found = queries.get_webhook(request.viewer, webhook_id)
    request.viewer.require(Permission.MANAGE_MONEY, found.tenant_id)
    given = {"url": found.url, "kinds": found.kinds, "version": found.version}
    form = WebhookForm(request.POST or None, initial=given)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            actions.change_webhook(
                request.viewer, webhook_id, data["url"], data["kinds"], expected=data["version"]
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{data['url']} is changed, from the next event on")
            return redirect("webhooks")
    context = {
        "form": form,
        "webhook": found,
        "whose": whose(tenant_ids(request), found),
        "once": new_ticket(),
    }
    return render(request, "webhooks/form.html", context, status=422 if form.errors else 200)


@require_POST
def renew(request: ViewerRequest, webhook_id: int) -> HttpResponse:
    """A new secret, shown once."""
    found = queries.get_webhook(request.viewer, webhook_id)
    claim = use_ticket(request)
    row, secret = actions.renew_secret(
        request.viewer, webhook_id, expected=found.version, now=timezone.now()
    )
    title, back = f"New secret of {row.url}", reverse("webhooks")
    return show_secret(request, claim, title=title, secret=secret, note=NOTE, back=back, kept=KEPT)


@require_POST
def remove(request: ViewerRequest, webhook_id: int) -> HttpResponse:
    row = actions.remove_webhook(request.viewer, webhook_id, now=timezone.now())
    messages.success(request, f"Nothing more is sent to {row.url}")
    return redirect("webhooks")


@require_POST
def resend(request: ViewerRequest, delivery_id: int) -> HttpResponse:
    """Back to the page that it was asked on: all deliveries, or the alerts of a tenant."""
    actions.send_again(request.viewer, delivery_id, now=timezone.now())
    messages.success(request, "It is sent again within seconds")
    slug = request.POST.get("alerts_of", "")
    if slug in tenant_ids(request).values():
        return redirect("budget_alerts", slug=slug)
    return redirect("webhooks")
