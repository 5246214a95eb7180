"""What is answered where no view answers: unknown addresses, defects, stores that are away.

Below /api/ an RFC 9457 problem document, elsewhere a page with the id to report.
"""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from redis.exceptions import RedisError

from tenants.api.base.problems import MEDIA_TYPE

AWAY = (OperationalError, InterfaceError, RedisError)
RETRY_SECONDS = 5


def missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return problem(request, 404, "not_found", "There is nothing at this address of the API")
    return render(request, "404.html", status=404)


def broken(request: HttpRequest) -> HttpResponse:
    if isinstance(sys.exc_info()[1], AWAY):
        return away(request)
    if request.path.startswith("/api/"):
        return problem(request, 500, "defect", "A defect on our side; report the request id")
    # Without context processors: whatever broke may break them too.
    return HttpResponse(render_to_string("500.html", {"request": request}), status=500)


def away(request: HttpRequest) -> HttpResponse:
    """No defect: a restart of PostgreSQL or Redis ends, and then the same request works."""
    if request.path.startswith("/api/"):
        text = "PostgreSQL or Redis does not answer at the moment. Nothing was changed: try again"
        answer: HttpResponse = problem(request, 503, "unavailable", text)
    else:
        answer = HttpResponse(render_to_string("503.html", {"request": request}), status=503)
    answer["Retry-After"] = str(RETRY_SECONDS)
    return answer


def problem(request: HttpRequest, status: int, code: str, detail: str) -> JsonResponse:
    body = {
        "type": f"urn:quartermaster:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "instance": request.path,
        "request_id": getattr(request, "request_id", ""),
    }
    return JsonResponse(body, status=status, content_type=MEDIA_TYPE)
