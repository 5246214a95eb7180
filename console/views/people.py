"""People of the console, their roles, and the gateways' credentials."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from billing.queries.clocks import source_clocks
from console.access import ViewerRequest
from console.confirm import require_typed
from console.downloads import download, wants_file
from console.filters import number
from console.forms import explain
from console.forms.people import PERMISSION_WORDS, InviteForm, RoleForm, SourceForm
from console.once import new_ticket, show_secret, use_ticket
from tenants.actions import people as actions
from tenants.actions import tokens as credentials
from tenants.errors import ConsoleError
from tenants.queries import audit, tenants
from tenants.queries import people as queries
from tenants.queries.directory import tenant_refs
from tenants.rules.access import ROLE_PERMISSIONS, TENANT_SLICE, Permission, Role

ROLES = tuple(r.value for r in Role)
OVERLAPS = ((0, "no longer"), (1, "for 1 hour"), (24, "for 24 hours"), (168, "for 7 days"))
COLUMNS = ("email", "name", "active", "roles", "live_tokens", "last_sign_in", "since")


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Filters: `q`, `role`, `active`."""
    viewer = request.viewer
    wanted = {name: request.GET.get(name, "").strip() for name in ("q", "role", "active")}
    rows = queries.list_people(
        viewer, search=wanted["q"], role=wanted["role"], active=wanted["active"]
    )
    if wants_file(request):
        return download(request, "people", COLUMNS, (line(p) for p in rows))
    context = {
        "page": Paginator(rows, 50).get_page(request.GET.get("page")),
        "wanted": wanted,
        "narrowed": any(wanted.values()),
        "roles": ROLES,
        "may_manage": viewer.may(Permission.MANAGE_PEOPLE),
    }
    return render(request, "people/index.html", context)


def line(person: Any) -> tuple[Any, ...]:
    roles = [f"{b.role}@{b.tenant.slug if b.tenant else 'fleet'}" for b in person.bindings.all()]
    return (
        person.email, person.name, person.is_active, roles, person.token_count,
        person.last_login, person.created_at,
    )  # fmt: skip


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    viewer = request.viewer
    viewer.require(Permission.MANAGE_PEOPLE)
    initial = {"once": new_ticket(), "tenant": request.GET.get("tenant", "")}
    form = InviteForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        claim = use_ticket(request)
        given = form.cleaned_data
        try:
            person, password = actions.invite_person(
                viewer,
                email=given["email"],
                name=given["name"],
                role=given["role"],
                tenant=given["tenant"],
                why=given["why"],
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            return shown(request, claim, person, password)
    context = {"form": form, "matrix": matrix(), "tenants": slugs(request)}
    return render(request, "people/new.html", context, status=422 if form.errors else 200)


def shown(request: ViewerRequest, claim: Any, person: Any, password: str) -> HttpResponse:
    return show_secret(
        request,
        claim,
        title=f"The password of {person.email}",
        secret=password,
        note="Hand it over in person or by a channel you trust. The person changes it, and adds a"
        " second step, in the account menu.",
        back=reverse("person", args=[person.pk]),
    )


def slugs(request: ViewerRequest) -> list[str]:
    rows = tenants.visible_tenants(request.viewer).order_by("slug")
    return list(rows.values_list("slug", flat=True))


def matrix() -> list[dict[str, Any]]:
    """What each role may do, for the page on which roles are given."""
    return [
        {
            "words": words,
            "cells": [permission in ROLE_PERMISSIONS[role] for role in Role],
            "in_slice": permission in TENANT_SLICE,
        }
        for permission, words in PERMISSION_WORDS.items()
    ]


@require_GET
def show(request: ViewerRequest, user_id: int) -> HttpResponse:
    viewer = request.viewer
    person = queries.get_person(viewer, user_id)
    may = viewer.may(Permission.MANAGE_PEOPLE)
    tokens = queries.list_tokens(viewer, everybody=True).filter(user=person) if may else []
    context = {
        "person": person,
        "tokens": tokens,
        "form": RoleForm(),
        "tenants": slugs(request) if may else [],
        "once": new_ticket(),
        "may_manage": may and person.pk != viewer.user_id,
        "is_self": person.pk == viewer.user_id,
        "events": audit.events_by(viewer, person.pk)[:20],
        "about": audit.events_of(viewer, "user", person.pk)[:20],
    }
    return render(request, "people/show.html", context)


@require_POST
def give_role(request: ViewerRequest, user_id: int) -> HttpResponse:
    post = request.POST
    actions.give_role(
        request.viewer,
        user_id,
        role=post.get("role", ""),
        tenant=post.get("tenant", ""),
        why=post.get("why", ""),
    )
    messages.success(request, "The role holds from the next click on")
    return redirect("person", user_id=user_id)


@require_POST
def take_role(request: ViewerRequest, user_id: int) -> HttpResponse:
    post = request.POST
    actions.take_role(
        request.viewer,
        user_id,
        role=post.get("role", ""),
        tenant=post.get("tenant", ""),
        why=post.get("why", ""),
    )
    messages.success(request, "The role is taken")
    return redirect("person", user_id=user_id)


@require_POST
def deactivate(request: ViewerRequest, user_id: int) -> HttpResponse:
    require_typed(request, queries.get_person(request.viewer, user_id).email)
    person = actions.deactivate_person(request.viewer, user_id, why=request.POST.get("why", ""))
    messages.success(request, f"{person.email} cannot sign in; sessions and tokens are ended")
    return redirect("person", user_id=user_id)


@require_POST
def reactivate(request: ViewerRequest, user_id: int) -> HttpResponse:
    person = actions.reactivate_person(request.viewer, user_id, why=request.POST.get("why", ""))
    messages.success(request, f"{person.email} may sign in again")
    return redirect("person", user_id=user_id)


@require_POST
def reset_password(request: ViewerRequest, user_id: int) -> HttpResponse:
    require_typed(request, queries.get_person(request.viewer, user_id).email)
    claim = use_ticket(request)
    person, password = actions.reset_password(
        request.viewer, user_id, why=request.POST.get("why", "")
    )
    return shown(request, claim, person, password)


@require_http_methods(["GET", "POST"])
def sources(request: ViewerRequest) -> HttpResponse:
    """Gateways' credentials at the ingest door."""
    viewer = request.viewer
    form = SourceForm(request.POST or None, initial={"once": new_ticket()})
    rows = queries.list_sources(viewer)
    now = timezone.now()
    clocks = source_clocks(viewer, now)
    slugs = {t.id: t.slug for t in tenant_refs().values()}
    if request.method == "POST" and form.is_valid():
        claim = use_ticket(request)
        try:
            tenants = form.cleaned_data["tenants"].replace(",", " ").split()
            source, secret = credentials.create_source(
                viewer, name=form.cleaned_data["name"], tenants=tenants
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            return shown_source(request, claim, source, secret)
    context = {
        "form": form,
        "sources": [(s, clocks.get(s.pk), [slugs.get(t, "") for t in s.tenant_ids]) for s in rows],
        "overlaps": OVERLAPS,
        "now": now,
        "once": new_ticket(),
        "may_manage": viewer.may(Permission.MANAGE_FLEET),
    }
    return render(request, "people/sources.html", context, status=422 if form.errors else 200)


def shown_source(request: ViewerRequest, claim: Any, source: Any, secret: str) -> HttpResponse:
    return show_secret(
        request,
        claim,
        title=f"The credential of {source.name}",
        secret=secret,
        note="Give it to the gateway as QM_INGEST_TOKEN. Until then it keeps usage in its spool.",
        back=reverse("sources"),
    )


@require_POST
def renew_source(request: ViewerRequest, name: str) -> HttpResponse:
    require_typed(request, name)
    claim = use_ticket(request)
    hours = number(request.POST, "keep_hours") or 0
    why = request.POST.get("why", "")
    source, secret = credentials.renew_source(request.viewer, name, why=why, keep_hours=hours)
    return shown_source(request, claim, source, secret)


@require_POST
def revoke_source(request: ViewerRequest, name: str) -> HttpResponse:
    require_typed(request, name)
    credentials.revoke_source(request.viewer, name, why=request.POST.get("why", ""))
    messages.success(request, f"{name} is revoked: what it delivers is refused, its spool grows")
    return redirect("sources")
