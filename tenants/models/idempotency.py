from django.db import models


class IdempotencyRecord(models.Model):
    """The answer that a repeated request gets again. Claimed before the work begins."""

    principal = models.CharField(max_length=80)  # "user:7", "token:3"
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)  # SHA-256 of method, path and body
    status = models.PositiveSmallIntegerField(null=True)  # null: not answered yet
    # Until then somebody works on it, whose transaction is not open all the time.
    held_until = models.DateTimeField(null=True)
    body = models.BinaryField(null=True)
    content_type = models.CharField(max_length=100, blank=True)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        db_table = "idempotency_record"
        constraints = [
            models.UniqueConstraint(fields=["principal", "key"], name="idempotency_once")
        ]

    def __str__(self) -> str:
        return f"{self.principal} {self.key}"
