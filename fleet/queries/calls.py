"""Who was called, when, and who is on it."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max

from fleet.models import ApprovalCall, RolloutCall
from fleet.queries.access import see_fleet
from tenants.rules.access import Viewer


@dataclass(frozen=True, slots=True)
class CallRow:
    kind: str
    since: datetime
    called_at: datetime | None
    times: int
    acknowledged_by: str
    acknowledged_at: datetime | None


def open_calls(viewer: Viewer, rollout_id: int) -> tuple[CallRow, ...]:
    """What calls somebody now, oldest first."""
    see_fleet(viewer)
    rows = RolloutCall.objects.filter(rollout=rollout_id, ended_at=None).order_by("id")
    names = ("kind", "since", "called_at", "times", "acknowledged_by", "acknowledged_at")
    return tuple(CallRow(*row) for row in rows.values_list(*names))


def approvers_told(change_id: int | None) -> datetime | None:
    """When those who may approve it were called, the last time. None: never, or it is over."""
    calls = ApprovalCall.objects.filter(change_id=change_id or 0, ended_at=None)
    found: datetime | None = calls.aggregate(at=Max("called_at"))["at"]
    return found
