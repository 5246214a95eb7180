"""DRF's view of the viewer that the middleware found."""

from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from tenants.api.base.rates import count_failure
from tenants.rules.access import Viewer


class Principal:
    """DRF wants an object with `is_authenticated`; the viewer stays a plain dataclass."""

    is_authenticated = True

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.pk = viewer.user_id


class CsrfCheck(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


class ViewerAuthentication(BaseAuthentication):
    """A bearer token, or the browser's session with a CSRF token for writes."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        plain = request._request
        viewer: Viewer | None = getattr(plain, "viewer", None)
        if viewer is None:
            if request.headers.get("Authorization"):
                count_failure(plain)
                raise AuthenticationFailed(
                    "This credential is unknown, expired, revoked, of a kind that opens another"
                    " door, or bound to other addresses than yours"
                )
            return None
        if viewer.via == "session":
            check = CsrfCheck(lambda r: None)  # type: ignore[arg-type]
            check.process_request(plain)
            if reason := check.process_view(plain, None, (), {}):  # type: ignore[arg-type]
                raise PermissionDenied(f"CSRF check failed: {reason}")
        return Principal(viewer), None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="quartermaster"'


class ViewerScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]  # untyped library
    target_class = ViewerAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "qmt_..."}
