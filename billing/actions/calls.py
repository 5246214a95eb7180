"""Tell people on call what the fleet calls them for: by the operator's receivers, and by mail."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from billing.actions.events import tell
from billing.rules.calls import KINDS
from fleet.actions.approval_calls import take_due_approvals
from fleet.actions.calls import Due, Subject, take_due
from fleet.actions.sequence_calls import take_due_stops
from tenants.base.scope import fleet_scope


@transaction.atomic
def call_people(now: datetime) -> int:
    """What is due is marked and told in one transaction. Answers how many calls were told."""
    again = timedelta(minutes=settings.QM_CALL_AGAIN_MINUTES)
    with fleet_scope():
        calls = [*take_due(now, again), *take_due_approvals(now), *take_due_stops(now, again)]
        for call in calls:
            tell_call(call, now)
    return len(calls)


def tell_call(call: Due, now: datetime) -> None:
    about = {subject: subject is call.subject for subject in Subject}
    data = {
        **{subject.value: call.label if it else "" for subject, it in about.items()},
        **{f"{subject}_id": call.pk if it else None for subject, it in about.items()},
        "service": call.service,
        "cluster": call.cluster,
        "from": call.release_from,
        "to": call.release_to,
        "why": call.why,
        "since": call.since.isoformat(),
        "expires_at": call.expires_at.isoformat() if call.expires_at else "",
        "times": call.times,
        "url": f"{settings.QM_CONSOLE_URL}/{call.subject}s/{call.pk}/",
    }
    kind = KINDS[call.kind.value]
    title = f"{call.label} of {call.service}"
    tell(kind, title, data, tenant_id=None, now=now, mails=settings.QM_ON_CALL_MAILS)
