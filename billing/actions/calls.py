"""Tell people on call what the fleet calls them for: by the operator's receivers, and by mail."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from billing.actions.events import tell
from billing.rules.calls import KINDS
from fleet.actions.calls import Due, take_due
from fleet.actions.sequence_calls import take_due_sequences
from tenants.base.scope import fleet_scope


@transaction.atomic
def call_people(now: datetime) -> int:
    """What is due is marked and told in one transaction. Answers how many calls were told."""
    again = timedelta(minutes=settings.QM_CALL_AGAIN_MINUTES)
    with fleet_scope():
        calls = [*take_due(now, again), *take_due_sequences(now)]
        for call in calls:
            tell_call(call, now)
    return len(calls)


def tell_call(call: Due, now: datetime) -> None:
    data = {
        "rollout": call.label if call.rollout_id else "",
        "rollout_id": call.rollout_id,
        "sequence": call.label if call.sequence_id else "",
        "sequence_id": call.sequence_id,
        "service": call.service,
        "cluster": call.cluster,
        "from": call.release_from,
        "to": call.release_to,
        "why": call.why,
        "since": call.since.isoformat(),
        "expires_at": call.expires_at.isoformat() if call.expires_at else "",
        "times": call.times,
        "url": f"{settings.QM_CONSOLE_URL}/{page_of(call)}/",
    }
    kind = KINDS[call.kind.value]
    subject = f"{call.label} of {call.service}"
    tell(kind, subject, data, tenant_id=None, now=now, mails=settings.QM_ON_CALL_MAILS)


def page_of(call: Due) -> str:
    if call.sequence_id:
        return f"sequences/{call.sequence_id}"
    return f"rollouts/{call.rollout_id}"
