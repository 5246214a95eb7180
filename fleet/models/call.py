"""People who may approve are called about what asks once, as a whole."""

from django.db import models


class ApprovalCall(models.Model):
    """The approval of a sequence or of a drill waits, or expires soon: each is told once."""

    change_id = models.BigIntegerField()  # tenants.ChangeRequest
    kind = models.CharField(max_length=20)  # fleet.rules.calls.CallKind
    called_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)  # it waits no longer

    class Meta:
        db_table = "approval_call"
        constraints = [
            models.UniqueConstraint(fields=["change_id", "kind"], name="approval_call_once")
        ]

    def __str__(self) -> str:
        return f"change {self.change_id} {self.kind}"
