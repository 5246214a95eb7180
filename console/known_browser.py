"""Browsers in which an account signed in before: they have attempts of their own.

Wrong passwords are limited by account, which stops whoever guesses from many addresses. Alone it
would let any stranger who knows an address keep its owner out, in the middle of an incident too. So
whoever signed in keeps a signed name of the browser, and attempts are counted by account and
browser where it is shown (OWASP calls it a device cookie). It opens nothing by itself.
"""

import secrets
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

COOKIE = "known_browser"
KEPT = timedelta(days=180)


def remember_browser(answer: HttpResponse, email: str) -> None:
    """Give the browser a name for the account that has just signed in."""
    answer.set_cookie(
        COOKIE,
        _signer(email).sign(secrets.token_urlsafe(12)),
        max_age=KEPT,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def name_of_browser(request: HttpRequest, email: str) -> str:
    """The name by which this account signed in here before; empty where it never did."""
    try:
        return _signer(email).unsign(request.COOKIES.get(COOKIE, ""), max_age=KEPT)
    except signing.BadSignature:  # another account's, too old or made up
        return ""


def _signer(email: str) -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=f"known browser of {email.lower()}")
