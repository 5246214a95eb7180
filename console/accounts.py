"""How people sign in: nobody signs up by himself, an operator invites."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.signals import password_changed
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from allauth.usersessions.models import UserSession
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from console.known_browser import name_of_browser, remember_browser
from tenants.actions.sign_in import note_failure, note_own
from tenants.queries.access import viewer_of_user
from tenants.rules.access import Viewer

SEEN_EVERY = timedelta(minutes=1)  # pages that refresh by themselves would write all the time
MOST_SESSIONS = 10_000  # that a process remembers
NOBODY = Viewer(user_id=None, email="not signed in")
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


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # the library has no types
    error_messages = DefaultAccountAdapter.error_messages | {
        "too_many_login_attempts": "Too many attempts: wait five minutes, or use a browser in which"
        " you signed in before"
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def clean_password(self, password: str, user: Any = None) -> str:
        """Another one than before: whoever made that one may know it still."""
        if user is not None and user.check_password(password):
            raise ValidationError("Choose a new password, not the one you have")
        return str(super().clean_password(password, user))

    def set_password(self, user: Any, password: str) -> None:
        """The person chose this one, so whoever made the account does not know it any more."""
        user.password_is_once = False
        super().set_password(user, password)

    def post_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse:
        note(request, user, "sign_in")
        answer: HttpResponse = super().post_login(request, user, **kwargs)
        remember_browser(answer, user.email)
        return answer

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """A stranger's attempts are not those of a browser that the account knows."""
        browser = name_of_browser(request, credentials.get("email") or "")
        account = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{account} {browser}".rstrip()

    def logout(self, request: HttpRequest) -> None:
        note(request, request.user, "sign_out")
        super().logout(request)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        step = "asked again" if request.user.is_authenticated else "password"
        note_failed(request, credentials.get("email") or "", step)

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        """The password was right, of somebody who may not sign in any more."""
        note_failed(request, user.email, "deactivated")
        answer: HttpResponse = super().respond_user_inactive(request, user)
        return answer


# What is added to an account and taken from it. The library tells of it after the commit, which is
# too late for evidence: a process that is killed in between would have changed it unseen.
ADDED = {"recovery_codes": "renew_recovery_codes"}
REMOVED = {"recovery_codes": ""}  # with the step that they stand in for, or for new ones


@receiver(post_save, sender=Authenticator)
def note_added(instance: Authenticator, created: bool, **_: Any) -> None:
    if created:
        note_step(instance, ADDED.get(instance.type, "add_second_step"))


@receiver(post_delete, sender=Authenticator)
def note_removed(instance: Authenticator, **_: Any) -> None:
    note_step(instance, REMOVED.get(instance.type, "remove_second_step"))


def note_step(authenticator: Authenticator, verb: str) -> None:
    """What somebody does to another's account has a record of its own."""
    request = context.request
    if verb and request is not None and request.user.pk == authenticator.user_id:
        note(request, request.user, verb, kind=str(authenticator.type))


@receiver(password_changed)
def note_password(request: HttpRequest, user: Any, **_: Any) -> None:
    note(request, user, "change_password")


@receiver(authentication_failed)
def note_code(request: HttpRequest, user: Any, **_: Any) -> None:
    note_failed(request, user.email, "second step")


def note(request: HttpRequest, user: Any, verb: str, **after: str) -> None:
    note_own(viewer_at(request, user), user, verb, after=after or None)


def note_failed(request: HttpRequest, email: str, step: str) -> None:
    note_failure(viewer_at(request, request.user), email, step)


def viewer_at(request: HttpRequest, user: Any) -> Viewer:
    known = viewer_of_user(user) if user.is_authenticated else NOBODY
    address = request.META.get("REMOTE_ADDR", "")
    return replace(known, request_id=getattr(request, "request_id", ""), address=address)


class SecondStepAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # the library has no types
    """Keeps the secrets of authenticator apps encrypted: the database alone opens no account."""

    def encrypt(self, text: str) -> str:
        return box().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return box().decrypt(encrypted_text.encode()).decode()


def box() -> Fernet:
    key = hashlib.sha256(b"second step\0" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))
