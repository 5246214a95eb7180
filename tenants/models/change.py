from enum import StrEnum
from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from tenants.models.user import User


class ChangeRequest(models.Model):
    """A proposed change, approved by somebody else. The approval binds to `digest`."""

    class State(StrEnum):
        WAITING = "waiting"
        APPROVED = "approved"
        REJECTED = "rejected"
        EXPIRED = "expired"
        WITHDRAWN = "withdrawn"

    DECIDED: ClassVar = (State.APPROVED, State.REJECTED, State.EXPIRED, State.WITHDRAWN)

    kind = models.CharField(max_length=32)  # "rollout"
    target_id = models.BigIntegerField()
    title = models.CharField(max_length=200)
    payload = models.JSONField()  # what is approved, canonical
    digest = models.CharField(max_length=64)  # SHA-256 of the payload
    reason = models.TextField(blank=True)  # why the requester wants it
    requester = models.ForeignKey(User, models.PROTECT, related_name="requested_changes")
    state = models.CharField(
        max_length=10, choices=[(s.value, s.value) for s in State], default=State.WAITING.value
    )
    decider = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="decided_changes"
    )
    decision_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "change_request"
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="approved") | ~Q(decider=F("requester")),
                name="change_request_four_eyes",
            ),
            models.UniqueConstraint(
                fields=["kind", "target_id"],
                condition=Q(state="waiting"),
                name="change_request_one_waiting",
            ),
        ]
        indexes = [models.Index(fields=["state", "-id"], name="change_request_state")]

    def __str__(self) -> str:
        return self.title
