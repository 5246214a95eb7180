"""Who asks, and whose rows the request may see: the two middlewares every view stands on."""

import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from allauth.account.middleware import AccountMiddleware
from allauth.core.exceptions import ImmediateHttpResponse, ReauthenticationRequired
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.response import SimpleTemplateResponse

from tenants.base.scope import scope_of
from tenants.errors import ConsoleError, Invalid
from tenants.queries.access import viewer_of_secret, viewer_of_user
from tenants.rules.access import Viewer

Handler = Callable[[HttpRequest], HttpResponse]
SIGN_IN = AccountMiddleware(lambda request: HttpResponse())  # for its `process_exception`
V = TypeVar("V", bound=Callable[..., Any])


class ViewerRequest(HttpRequest):
    """A request as pages see it, behind the middlewares of this file: for their annotations."""

    viewer: Viewer
    request_id: str


class RequestIdMiddleware:
    """Give every request an id, in its logs and in its answer."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.request_id = str(uuid.uuid4())  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request.request_id)  # type: ignore[attr-defined]
        response = self.get_response(request)
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        return response


class ViewerMiddleware:
    """Set `request.viewer` and run the view inside the viewer's scope and transaction.

    A view marked `own_scope` opens scopes itself (streams, the ingest door). A refusal raised by
    a page rolls the transaction back and is shown with the sentence that the API would answer.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_person = getattr(request.user, "is_authenticated", False)  # the API has no user at times
        if is_person or getattr(request, "viewer", None) is not None:
            # Whoever sits at the browser after a sign-out goes back to nothing.
            response.setdefault("Cache-Control", "no-store")
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        viewer = identify(request)
        if viewer and viewer.via == "session" and must_change_password(request):
            if not request.path.startswith("/api/"):
                messages.warning(request, "Somebody else made this password: choose your own")
                return redirect("account_change_password")
            viewer = None
        request.viewer = viewer  # type: ignore[attr-defined]
        if viewer is None or getattr(view, "own_scope", False):
            return None
        structlog.contextvars.bind_contextvars(actor=viewer.email)
        if has_nul(request):
            return refused(request, Invalid("A NUL character is part of no name and no text"))
        try:
            with scope_of(viewer):
                return rendered(view(request, *args, **kwargs))
        except ConsoleError as refusal:
            return refused(request, refusal)
        except (ImmediateHttpResponse, ReauthenticationRequired) as detour:
            # Views that run here are past the point where Django would ask other middlewares.
            return SIGN_IN.process_exception(request, detour)  # type: ignore[no-any-return]


def rendered(response: HttpResponse) -> HttpResponse:
    """Render what would be rendered later, outside of the viewer's scope: with empty counts."""
    if isinstance(response, SimpleTemplateResponse) and not response.is_rendered:
        response.render()
    return response


def must_change_password(request: HttpRequest) -> bool:
    """A password that was shown to another person opens only the page that changes it."""
    once: bool = getattr(request.user, "password_is_once", False)
    return once and not request.path.startswith("/account/")


def has_nul(request: HttpRequest) -> bool:
    """In the address or a form: PostgreSQL has no such text, so it would fail deep inside.

    The API refuses it by itself, as a problem document.
    """
    if request.path.startswith("/api/"):
        return False
    given = [*request.GET.lists(), *request.POST.lists()]
    return any("\x00" in value for _, values in given for value in values)


def own_scope(view: V) -> V:
    view.own_scope = True  # type: ignore[attr-defined]
    return view


def identify(request: HttpRequest) -> Viewer | None:
    """A person's session; at the API a bearer secret wins, so a token never gains wider roles.

    Pages are for sessions only: they take no notice of a bearer secret.
    """
    request_id = getattr(request, "request_id", "")
    address = request.META.get("REMOTE_ADDR", "")
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and request.path.startswith("/api/"):
        return viewer_of_secret(secret.strip(), request_id=request_id, address=address)
    if request.user.is_authenticated and request.user.is_active:
        return viewer_of_user(request.user, request_id=request_id, address=address)
    return None


def refused(request: HttpRequest, refusal: ConsoleError) -> HttpResponse:
    """Show a refusal as a page, or as a fragment where HTMX asked for one."""
    htmx = getattr(request, "htmx", None)
    template = "shell/refusal_fragment.html" if htmx else "shell/refusal.html"
    return render(request, template, {"refusal": refusal}, status=refusal.status)
