"""The evidence of sign-ins and of one's own account."""

import structlog
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.db import transaction

from tenants.actions.audit import State, record
from tenants.base.scope import fleet_scope
from tenants.clients.rates import rate_counter
from tenants.errors import Unavailable
from tenants.models import User
from tenants.rules.access import Viewer
from tenants.rules.attempts import WINDOW, is_told
from tenants.rules.rates import group_of

log = structlog.get_logger(__name__)
NAME = "sign-in"  # of the counts
MOST_ROWS = 1_000  # of failures in a window, from all addresses together
NO_MORE = "So many sign-ins fail that no more are written down within the hour: see the web's logs"


@transaction.atomic
def note_own(viewer: Viewer, user: User, verb: str, *, after: State = None) -> None:
    """Keep what a person did to his own account: signed in or out, changed password or second
    step. In the transaction of the change, where there is one.
    """
    with fleet_scope():
        record(viewer, f"person.{verb}", user, after=after)


@transaction.atomic
def end_other_sessions(viewer: Viewer, user: User, key: str) -> int:
    """End all of a person's sessions but the one with this key. Answers how many."""
    others = list(UserSession.objects.filter(user=user).exclude(session_key=key))
    for session in others:
        session.end()
    record(viewer, "session.end_others", user, after={"sessions_ended": len(others)})
    return len(others)


def note_failure(viewer: Viewer, email: str, step: str) -> None:
    """Keep that a sign-in failed, by account and address; never what was typed.

    Of an account that does not exist not even the name: it may be somebody's password.
    """
    user = User.objects.filter(email__iexact=email).first()
    user = user or User(pk=0, name="an account that does not exist")
    log.warning("a sign-in failed", user=user.pk, address=viewer.address, step=step)
    try:
        failures = _count(f"{user.pk}:{group_of(viewer.address)}")
        if not is_told(failures):
            return
        rows = _count("rows")
    except Unavailable as error:
        log.warning("a failed sign-in was not counted", error=error.message)
        failures, rows = None, 0
    if rows > MOST_ROWS:
        return
    why = NO_MORE if rows == MOST_ROWS else ""
    with fleet_scope():
        after = {"step": step, "failures": failures}
        record(viewer, "person.sign_in_failed", user, after=after, why=why)


def _count(what: str) -> int:
    number, _ = rate_counter(settings.REDIS_URL).count(f"{NAME}:{what}", WINDOW)
    return number
