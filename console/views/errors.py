"""The page for a defect: Django's own knows no request, so no request id to report."""

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string


def broken(request: HttpRequest) -> HttpResponse:
    # Without context processors: whatever broke may break them too.
    return HttpResponse(render_to_string("500.html", {"request": request}), status=500)
