"""What the check of the books found, each time it ran."""

from django.db import models

from tenants.base.rows import Claimable


class Reconciliation(Claimable):
    """One run of the check. A trigger keeps what was found as it is."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DONE = "done"

    requested_by = models.CharField(max_length=254)  # empty: the clock
    requested_at = models.DateTimeField()
    state = models.CharField(max_length=7, choices=State.choices, default=State.WAITING.value)
    since = models.DateTimeField()  # hours before it were not looked at
    finished_at = models.DateTimeField(null=True)
    seconds = models.FloatField(default=0)
    wrong = models.IntegerField(default=0)  # sums that do not agree
    # [{sentence, left, right, wrong, named}], amounts as text
    sums = models.JSONField(default=list)

    class Meta:
        db_table = "reconciliation"
        constraints = [
            models.UniqueConstraint(
                fields=["state"],
                condition=models.Q(state="waiting"),
                name="reconciliation_one_waits",
            )
        ]

    def __str__(self) -> str:
        return f"{self.requested_at:%Y-%m-%d %H:%M}: {self.wrong}"
