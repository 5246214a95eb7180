"""What every page's frame shows: who is signed in, the environment, counts, freshness."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def context(request: HttpRequest) -> dict[str, Any]:
    viewer = getattr(request, "viewer", None)
    return {
        "viewer": viewer,
        "environment": settings.QM_ENVIRONMENT,
        "gateway_url": settings.QM_GATEWAY_URL,
    }
