"""Limits of requests: by token or person, and by address for credentials that open nothing.

Usage sources are not limited: what a gateway measured is taken however much it is. Without
Valkey nothing is counted and nothing refused, because the API must answer then as well.
"""

from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from tenants.clients.rates import rate_counter
from tenants.errors import TooManyRequests, Unavailable
from tenants.rules.access import Viewer
from tenants.rules.rates import WINDOW, Rate, group_of

log = structlog.get_logger(__name__)


class ViewerThrottle(BaseThrottle):
    """What a token may send in a minute; a person in a browser has a count of his own."""

    def allow_request(self, request: Request, view: Any) -> bool:
        viewer: Viewer | None = getattr(request._request, "viewer", None)
        if viewer is None or viewer.via == "source":
            return True
        who = f"token:{viewer.token_id}" if viewer.token_id else f"user:{viewer.user_id}"
        rate = spend(request._request, who, "requests", settings.QM_API_REQUESTS_PER_MINUTE)
        if rate is not None and rate.is_over:
            raise TooManyRequests(
                f"{rate.limit:,} requests a minute are answered; the next in {rate.seconds} s",
                wait=rate.seconds,
            )
        return True


def count_failure(request: HttpRequest) -> None:
    """One more credential from this address that opens nothing: too many are refused unread."""
    who = f"address:{group_of(request.META.get('REMOTE_ADDR', ''))}"
    rate = spend(request, who, "failures", settings.QM_API_FAILURES_PER_MINUTE)
    if rate is not None and rate.is_over:
        raise TooManyRequests(
            f"More than {rate.limit:,} credentials from this address opened nothing within a"
            f" minute; try again in {rate.seconds} s",
            wait=rate.seconds,
        )


def spend(request: HttpRequest, who: str, name: str, limit: int) -> Rate | None:
    """Count a request, and keep what the answer says about it. None: not limited, or no Valkey."""
    if not limit:
        return None
    try:
        used, seconds = rate_counter(settings.REDIS_URL).count(who, WINDOW)
    except Unavailable as error:
        log.warning("a request was not counted", error=error.message)
        return None
    rate = Rate(name, limit, used, seconds)
    request.rate = rate  # type: ignore[attr-defined]
    return rate
