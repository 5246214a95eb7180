"""Errors as RFC 9457 problem documents, with the sentence that the page shows."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from tenants.errors import ConsoleError, Invalid

MEDIA_TYPE = "application/problem+json"


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer refusals; anything unknown goes on to the 500 handler."""
    found = problem_of(error)
    if found is None:
        return None
    status, code, message, more = found
    request = context["request"]
    scoped = getattr(request._request, "viewer", None) is not None
    if scoped and transaction.get_connection().in_atomic_block:
        transaction.set_rollback(True)  # the scope's transaction must not commit half a change
    body = {
        "type": f"urn:quartermaster:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": message,
        "instance": request.path,
        "request_id": getattr(request._request, "request_id", ""),
    } | more
    response = Response(body, status=status, content_type=MEDIA_TYPE)
    if header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = header
    if wait := getattr(error, "wait", None):
        response["Retry-After"] = str(int(wait))
    return response


def problem_of(error: Exception) -> tuple[int, str, str, dict[str, Any]] | None:
    if isinstance(error, Invalid):
        fields = [{"pointer": f"/{k}", "detail": v} for k, v in error.fields.items()]
        return error.status, error.code, error.message, {"errors": fields}
    if isinstance(error, ConsoleError):
        return error.status, error.code, error.message, dict(error.detail)
    if isinstance(error, exceptions.ValidationError):
        fields = list(flatten(error.detail))
        return 422, "invalid", "; ".join(f["detail"] for f in fields), {"errors": fields}
    if isinstance(error, exceptions.APIException):
        code = error.default_code if isinstance(error.default_code, str) else "error"
        return error.status_code, code, str(error.detail), {}
    if isinstance(error, Http404):
        return 404, "not_found", "There is nothing here, or it is not yours to see", {}
    if isinstance(error, PermissionDenied):
        return 403, "forbidden", str(error) or "Your roles do not allow this", {}
    return None


def flatten(detail: Any, pointer: str = "") -> Any:
    """DRF's nested error dictionary as rows of JSON pointer and sentence."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            part = "" if key == "non_field_errors" else f"/{key}"
            yield from flatten(value, pointer + part)
    elif isinstance(detail, list):
        for index, value in enumerate(detail):
            nested = isinstance(value, dict | list)
            yield from flatten(value, f"{pointer}/{index}" if nested else pointer)
    else:
        yield {"pointer": pointer or "/", "detail": str(detail)}
