"""Is the process alive, and can it serve? A lost Redis does not make it unready: pages work."""

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse


def livez(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


def readyz(request: HttpRequest) -> HttpResponse:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
    except DatabaseError as error:
        return JsonResponse({"ready": False, "why": str(error).strip()}, status=503)
    return JsonResponse({"ready": True})
