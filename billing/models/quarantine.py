"""What people decided about events in quarantine: asked by one, approved by another, kept."""

from django.db import models


class QuarantineDecision(models.Model):
    """One question about some events. `digest` stands for every event and correction of it."""

    kind = models.CharField(max_length=7)  # take, correct, drop
    why = models.TextField()
    events = models.IntegerField()
    digest = models.CharField(max_length=64)
    state = models.CharField(max_length=7, default="waiting")  # waiting, done, refused
    asked_by = models.CharField(max_length=254)
    asked_at = models.DateTimeField()
    change_id = models.BigIntegerField(null=True)
    decided_by = models.CharField(max_length=254, blank=True)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "quarantine_decision"
        indexes = [models.Index(fields=["state", "-id"], name="quarantine_decision_state")]

    def __str__(self) -> str:
        return f"quarantine-{self.pk}"


class QuarantineItem(models.Model):
    """One event of a decision as it was kept, its correction, and what became of it."""

    decision = models.ForeignKey(QuarantineDecision, models.PROTECT, related_name="items")
    tenant_id = models.BigIntegerField(null=True)
    quarantine_id = models.BigIntegerField()  # of the row that waited, gone once decided
    source_id = models.BigIntegerField()
    event_id = models.CharField(max_length=128)
    reason = models.CharField(max_length=32)
    detail = models.TextField()
    payload = models.TextField()  # as sent, cut to 16 KiB
    payload_sha = models.BinaryField()
    ended_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=128, blank=True)
    received_at = models.DateTimeField()
    corrected = models.TextField(blank=True)
    corrected_sha = models.BinaryField(null=True)
    outcome = models.CharField(max_length=7, blank=True)  # taken, dropped, kept; empty: not yet
    said = models.TextField(blank=True)  # why it was kept

    class Meta:
        db_table = "quarantine_item"
        indexes = [models.Index(fields=["ended_at"], name="quarantine_item_ended")]

    def __str__(self) -> str:
        return f"{self.event_id}: {self.reason}"
