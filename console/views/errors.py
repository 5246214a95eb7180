"""What is answered where no view answers: unknown addresses and defects.

Below /api/ an RFC 9457 problem document, elsewhere a page with the id to report.
"""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from tenants.api.base.problems import MEDIA_TYPE


def missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return problem(request, 404, "not_found", "There is nothing at this address of the API")
    return render(request, "404.html", status=404)


def broken(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        return problem(request, 500, "defect", "A defect on our side; report the request id")
    # Without context processors: whatever broke may break them too.
    return HttpResponse(render_to_string("500.html", {"request": request}), status=500)


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
