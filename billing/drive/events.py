"""The pass over deliveries of events: claim one, send it, write down what came of it.

Nothing is sent inside a transaction. A worker that dies in between leaves a claim that ends, and
the message goes out again under the same id, which its receiver knows.
"""

import json
import smtplib
import uuid
from collections.abc import Hashable
from datetime import datetime

from django.conf import settings
from django.core.mail import EmailMessage

from billing.clients.delivery import Answer, Message, send
from billing.clients.vault import Unreadable, unseal_both
from billing.drive.turns import Round, Turn, next_turns
from billing.models import EventDelivery
from billing.rules.alerts import mail_of
from billing.rules.calls import is_call, mail_of_call
from billing.rules.webhooks import key_of, next_try
from tenants.base.claims import claimed
from tenants.base.scope import fleet_scope

MOST = 20  # in one pass
SECONDS = 40.0  # after which a pass begins nothing more, well before the worker's limit
MOST_SAID = 500  # characters
NO_MAIL = "No mail server is set (QM_MAIL_HOST): set it, then send again"
State = EventDelivery.State


def deliver_due(now: datetime) -> int:
    """Send what is due. Returns how many were tried."""
    with fleet_scope():
        waiting = EventDelivery.objects.filter(state=State.WAITING)
        due = next_turns(waiting, now, receiver="webhook_id", most=MOST)
    going = Round(now, SECONDS)
    return sum(_deliver(turn, going, now) for turn in going.of(due))


def _deliver(turn: Turn, going: Round, now: datetime) -> int:
    with claimed(EventDelivery, turn.id) as claim:
        if claim is None:
            going.leave(turn)
            return 0
        with fleet_scope():
            row = EventDelivery.objects.select_related("event", "webhook").get(pk=turn.id)
        if row.state != State.WAITING:
            return 0
        receiver: Hashable = row.webhook_id or "mail"
        if unsent := going.unsent(receiver):
            _keep(row, claim, unsent, now, was_sent=False)
            return 1
        try:
            answer = _by_webhook(row, going.now) if row.webhook else _by_mail(row)
        except Exception as error:  # as the end of a worker's time: a try that failed
            why = f"{type(error).__name__}: {error}"[:MOST_SAID]
            _keep(row, claim, Answer(None, why), now)
            raise
        going.heard(receiver, answer)
        _keep(row, claim, answer, now)
    return 1


def _keep(
    row: EventDelivery, claim: uuid.UUID, answer: Answer, now: datetime, *, was_sent: bool = True
) -> None:
    failures = row.failures + (not answer.taken)
    again = None if answer.taken or answer.is_final else next_try(failures, now)
    state = State.DONE if answer.taken else State.WAITING if again else State.FAILED
    with fleet_scope():
        EventDelivery.record(
            row.pk,
            claim,
            state=state.value,
            tries=row.tries + was_sent,
            failures=failures,
            answered=answer.status,
            why=answer.why[:MOST_SAID],
            tried_at=now if was_sent else row.tried_at,
            look_again=again,
        )


def _by_webhook(row: EventDelivery, now: datetime) -> Answer:
    hook = row.webhook
    assert hook is not None
    if hook.removed_at is not None:
        return Answer(None, "The receiver was removed", is_final=True)
    try:
        secret, *previous = unseal_both(settings.SECRET_KEY, hook.secret, hook.previous_at(now))
    except Unreadable as error:
        return Answer(None, str(error), is_final=True)
    message = Message(
        url=hook.url,
        key=key_of(row.event_id, hook.pk),
        secret=secret,
        previous="".join(previous),
        body=row.event.payload.encode(),
        content_type="application/json",
    )
    return send(message, now=now, allow_private=settings.QM_ALLOW_PRIVATE_DELIVERY)


def _by_mail(row: EventDelivery) -> Answer:
    if not settings.EMAIL_HOST:
        return Answer(None, NO_MAIL, is_final=True)
    document = json.loads(row.event.payload)
    data = document["data"]
    if is_call(document["type"]):
        subject, text = mail_of_call(document, data["url"])
    else:
        place = f"{settings.QM_CONSOLE_URL}/billing/{data['tenant']}/alerts/"
        subject, text = mail_of(document, place)
    try:
        EmailMessage(subject, text, to=[row.mail]).send()
    except (smtplib.SMTPException, OSError) as error:
        return Answer(None, f"{type(error).__name__}: {error}"[:500])
    return Answer(None)
