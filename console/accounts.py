"""How people sign in: nobody signs up by himself, an operator invites."""

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.usersessions.models import UserSession
from cryptography.fernet import Fernet
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from tenants.actions.people import note_own
from tenants.queries.access import viewer_of_user

SEEN_EVERY = timedelta(minutes=1)  # pages that refresh by themselves would write all the time
MOST_SESSIONS = 10_000  # that a process remembers
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class SeenMiddleware:
    """Keep when a session was last seen, as a rough figure: neither a write for each request, nor
    a question.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.seen: dict[str, datetime] = {}  # by session, as far as this process knows

    def __call__(self, request: HttpRequest) -> HttpResponse:
        key = request.session.session_key
        if key and request.user.is_authenticated:
            fresh = timezone.now() - SEEN_EVERY
            if self.seen.get(key, LONG_AGO) <= fresh:
                self.note(request, key, fresh)
        return self.get_response(request)

    def note(self, request: HttpRequest, key: str, fresh: datetime) -> None:
        kept = UserSession.objects.filter(session_key=key).values_list("last_seen_at", flat=True)
        last = kept.first()
        if last is None or last <= fresh:
            UserSession.objects.create_from_request(request)
            last = timezone.now()
        if len(self.seen) >= MOST_SESSIONS:
            self.seen.clear()
        self.seen[key] = last


# What the library would mail to a person about his own account, as the record calls it.
NOTED = {
    "account/email/password_changed": "change_password",
    "mfa/email/totp_activated": "add_second_step",
    "mfa/email/totp_deactivated": "remove_second_step",
    "mfa/email/recovery_codes_generated": "renew_recovery_codes",
}


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # the library has no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def set_password(self, user: Any, password: str) -> None:
        """The person chose this one, so whoever made the account does not know it any more."""
        user.password_is_once = False
        super().set_password(user, password)

    def post_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse:
        note(request, user, "sign_in")
        answer: HttpResponse = super().post_login(request, user, **kwargs)
        return answer

    def send_notification_mail(
        self, template_prefix: str, user: Any, context: Any = None, email: str | None = None
    ) -> None:
        if verb := NOTED.get(template_prefix):
            note(self.request, user, verb)
        super().send_notification_mail(template_prefix, user, context, email)


def note(request: HttpRequest, user: Any, verb: str) -> None:
    request_id, address = getattr(request, "request_id", ""), request.META.get("REMOTE_ADDR", "")
    note_own(viewer_of_user(user, request_id=request_id, address=address), user, verb)


class SecondStepAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # the library has no types
    """Keeps the secrets of authenticator apps encrypted: the database alone opens no account."""

    def encrypt(self, text: str) -> str:
        return box().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return box().decrypt(encrypted_text.encode()).decode()


def box() -> Fernet:
    key = hashlib.sha256(b"second step\0" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))
