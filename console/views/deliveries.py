"""Receivers of exports, and one export with its deliveries."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from billing.actions import deliveries as actions
from billing.queries import deliveries as queries
from billing.queries import exports as files
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.exports import (
    BucketKeyForm,
    DeliverForm,
    DestinationFields,
    DestinationForm,
    NewDestinationForm,
)
from console.once import new_ticket, show_secret, use_ticket
from console.views.exports import evidence_of, sums_of, tenant_choices, tenant_id, tenant_ids
from tenants.actions.idempotency import Claim, keep_answer
from tenants.errors import ConsoleError, Forbidden, Invalid
from tenants.rules.access import Permission

COLUMNS = (
    "delivery", "receiver", "requested_at", "requested_by", "state", "why", "tried_at", "part",
    "status", "answer",
)  # fmt: skip


@require_GET
def export(request: ViewerRequest, job_id: int) -> HttpResponse:
    if wants_file(request):
        return download(request, f"deliveries-{job_id}", COLUMNS, tries(request, job_id))
    return page(request, job_id, None)


def tries(request: ViewerRequest, job_id: int) -> Iterator[tuple[Any, ...]]:
    """A row for each try; a delivery that was not tried yet has one too."""
    for d in queries.list_deliveries(request.viewer, job_id):
        head = (d.pk, d.destination.name, d.requested_at, d.requested_by, d.state, d.why)
        attempts = list(d.attempts.all())
        for a in attempts:
            yield (*head, a.at, a.part, a.status, a.why)
        if not attempts:
            yield (*head, None, "", None, "")


def page(request: ViewerRequest, job_id: int, form: DeliverForm | None) -> HttpResponse:
    job = files.get_export(request.viewer, job_id)
    may_deliver = request.viewer.may(Permission.MANAGE_MONEY, job.tenant_id)
    fitting = [
        d for d in queries.list_destinations(request.viewer)
        if d.tenant_id is None or d.tenant_id == job.tenant_id
    ]  # fmt: skip
    choices = [(d.pk, d.name) for d in fitting]
    initial = {"destination": job.destination_id}
    context = {
        "job": job,
        "sums": sums_of(job),
        "evidence": evidence_of(job),
        "whose": tenant_ids(request).get(job.tenant_id or 0, "the fleet"),
        "deliveries": queries.list_deliveries(request.viewer, job_id),
        "form": form or DeliverForm(receivers=choices, initial=initial),
        "may_deliver": may_deliver and job.state == "done" and choices,
    }
    return render(request, "exports/show.html", context, status=422 if form else 200)


@require_POST
def deliver(request: ViewerRequest, job_id: int) -> HttpResponse:
    choices = [(d.pk, d.name) for d in queries.list_destinations(request.viewer)]
    form = DeliverForm(request.POST, receivers=choices)
    if form.is_valid():
        try:
            actions.deliver_export(
                request.viewer, job_id, now=timezone.now(),
                destination_id=int(form.cleaned_data["destination"]),
            )  # fmt: skip
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Export {job_id} is sent; each try appears below")
            return redirect("export", job_id)
    return page(request, job_id, form)


@require_GET
def destinations(request: ViewerRequest) -> HttpResponse:
    names = tenant_ids(request)
    may_edit = request.viewer.may_somewhere(Permission.MANAGE_MONEY)
    rows = queries.list_destinations(request.viewer)
    context = {
        "rows": [(d, names.get(d.tenant_id or 0, "the operator")) for d in rows],
        "may_edit": may_edit,
    }
    return render(request, "exports/destinations.html", context)


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    if not request.viewer.may_somewhere(Permission.MANAGE_MONEY):
        raise Forbidden("Receivers are made by who may change money: ask for the role 'finance'")
    form = NewDestinationForm(
        request.POST or None, tenants=tenant_choices(request), initial={"once": new_ticket()}
    )
    if request.method == "POST" and form.is_valid():
        claim = use_ticket(request)
        given = form.cleaned_data
        try:
            made, secret = actions.create_destination(
                request.viewer, form.target(), tenant_id=tenant_id(request, given["tenant"]),
                secret_key=given["secret_key"],
            )  # fmt: skip
        except Invalid as refusal:
            explain(form, refusal)
        else:
            return ready(request, claim, f"{made.name} is ready", secret)
    return form_page(request, form, None)


@require_http_methods(["GET", "POST"])
def edit(request: ViewerRequest, destination_id: int) -> HttpResponse:
    found = queries.get_destination(request.viewer, destination_id)
    request.viewer.require(Permission.MANAGE_MONEY, found.tenant_id)
    given = asdict(found.target) | {"version": found.version}
    form = DestinationForm(request.POST or None, initial=given)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            actions.change_destination(
                request.viewer, destination_id, form.target(), expected=data["version"]
            )
        except Invalid as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{data['name']} is changed, from the next message on")
            return redirect("export_destinations")
    return form_page(request, form, found)


def form_page(
    request: ViewerRequest,
    form: DestinationFields,
    found: Any,
    key_form: BucketKeyForm | None = None,
) -> HttpResponse:
    once = new_ticket()
    context = {
        "form": form,
        "destination": found,
        "once": once,
        "key_form": key_form or BucketKeyForm(initial={"once": once}),
    }
    status = 422 if form.errors or key_form else 200
    return render(request, "exports/destination.html", context, status=status)


@require_POST
def renew(request: ViewerRequest, destination_id: int) -> HttpResponse:
    """A new secret: made here and shown once, or typed in where a bucket's store made it."""
    found = queries.get_destination(request.viewer, destination_id)
    claim = use_ticket(request)
    try:
        changed, secret = actions.renew_secret(
            request.viewer, destination_id, expected=found.version, now=timezone.now(),
            secret_key=request.POST.get("secret_key", "").strip(),
        )  # fmt: skip
    except Invalid as refusal:
        key_form = BucketKeyForm(request.POST)
        explain(key_form, refusal)
        form = DestinationForm(initial=asdict(found.target) | {"version": found.version})
        return form_page(request, form, found, key_form)
    return ready(request, claim, f"{changed.name} has a new secret", secret)


def ready(request: ViewerRequest, claim: Claim, title: str, secret: str) -> HttpResponse:
    """Show the secret that was made; one that was typed in is known to who typed it."""
    if secret:
        return show(request, claim, title, secret)
    keep_answer(claim, 302, None)
    messages.success(request, title)
    return redirect("export_destinations")


def show(request: ViewerRequest, claim: Claim, title: str, secret: str) -> HttpResponse:
    return show_secret(
        request,
        claim,
        title=title,
        secret=secret,
        note="The receiver checks with it that a file came from here and is whole.",
        back=reverse("export_destinations"),
        kept="It is kept encrypted, to sign with, and no page shows it again.",
    )
