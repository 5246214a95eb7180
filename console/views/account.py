"""One's own account: access tokens, and what one did."""

from datetime import timedelta
from hmac import compare_digest
from typing import Any

from allauth.usersessions.models import UserSession
from allauth.usersessions.views import ListUserSessionsView
from django.contrib import messages
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.models import Session
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.generic.edit import FormView

from console.access import ViewerRequest
from console.forms import explain
from console.forms.people import TokenForm
from console.once import new_ticket, show_secret, use_ticket
from tenants.actions import people, sign_in
from tenants.actions import tokens as actions
from tenants.base.scope import fleet_scope
from tenants.errors import ConsoleError
from tenants.queries import audit
from tenants.queries import people as queries


@require_GET
def tokens(request: ViewerRequest) -> HttpResponse:
    now = timezone.now()
    rows = queries.list_tokens(request.viewer)
    found = [{"token": t, "state": queries.token_state(t, now)} for t in rows[:200]]
    return render(request, "account/tokens.html", {"found": found})


@require_http_methods(["GET", "POST"])
def new_token(request: ViewerRequest) -> HttpResponse:
    viewer = request.viewer
    allowed = actions.grantable(viewer)
    form = TokenForm(request.POST or None, allowed=allowed, initial={"once": new_ticket()})
    if request.method == "POST" and form.is_valid():
        claim = use_ticket(request)
        given = form.cleaned_data
        try:
            token, secret = actions.create_token(
                viewer,
                name=given["name"],
                permissions=given["permissions"],
                lifetime=timedelta(days=min(given["days"], 100_000)),
                networks=given["networks"],
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            return show_secret(
                request,
                claim,
                title=f"The token {token.name}",
                secret=secret,
                note=f"Send it as “Authorization: Bearer …” to {request.get_host()}/api/v1/.",
                back=reverse("tokens"),
            )
    status = 422 if form.errors else 200
    return render(request, "account/token_new.html", {"form": form}, status=status)


@require_POST
def revoke_token(request: ViewerRequest, token: str) -> HttpResponse:
    revoked = actions.revoke_token(request.viewer, token, why=request.POST.get("why", ""))
    messages.success(request, f"{revoked} is revoked and refused from now on")
    if revoked.user_id != request.viewer.user_id:
        return redirect("person", user_id=revoked.user_id)
    return redirect("tokens")


class SessionsView(ListUserSessionsView):  # type: ignore[misc]  # the library has no types
    """One's own sessions: the library's own list asks the database twice for each of them."""

    def form_valid(self, form: Any) -> HttpResponse:
        viewer, key = self.request.viewer, self.request.session.session_key
        ended = sign_in.end_other_sessions(viewer, self.request.user, key)
        messages.success(self.request, f"{ended} other sessions are ended")
        return redirect("usersessions_list")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        found = open_sessions(self.request.user)
        page = Paginator(found, 50).get_page(self.request.GET.get("page"))
        frame: dict[str, Any] = FormView.get_context_data(self, **kwargs)
        return frame | {"page": page, "session_count": len(found)}


def open_sessions(user: Any) -> list[UserSession]:
    """Oldest first. Those that ran out, or began before the password changed, are forgotten."""
    rows = list(UserSession.objects.filter(user=user).order_by("created_at", "pk"))
    living = Session.objects.filter(
        session_key__in=[row.session_key for row in rows], expire_date__gt=timezone.now()
    )
    proof = user.get_session_auth_hash()
    good = {
        session.session_key
        for session in living
        if compare_digest(session.get_decoded().get(HASH_SESSION_KEY, ""), proof)
    }
    dead = [row.pk for row in rows if row.session_key not in good]
    if dead:
        UserSession.objects.filter(pk__in=dead).delete()
    return [row for row in rows if row.session_key in good]


@require_POST
def end_session(request: ViewerRequest, session_id: int) -> HttpResponse:
    people.end_session(request.viewer, session_id)
    messages.success(request, "That session is ended")
    return redirect("usersessions_list")


@require_GET
def activity(request: ViewerRequest) -> HttpResponse:
    """What the viewer did, also where he may not look any more."""
    with fleet_scope():
        rows = audit.own_events(request.viewer)
        page = Paginator(rows, 50).get_page(request.GET.get("page"))
        page.object_list = list(page.object_list)
        return render(request, "account/activity.html", {"page": page})


@require_GET
def ask_operator(request: HttpRequest) -> HttpResponse:
    """What one cannot do alone here, signed in or not: there is no mail that could be stolen."""
    return render(request, "account/ask.html")
