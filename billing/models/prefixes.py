"""Prefixes that a store keeps for tenants: what it reported, and the sums by hour."""

from django.db import models
from django.db.models.functions import Now


class PrefixReport(models.Model):
    """What was kept in [started_at, ended_at), within one hour. Never changed."""

    source_id = models.BigIntegerField()
    report_id = models.UUIDField()
    tenant_id = models.BigIntegerField()
    application_id = models.BigIntegerField()
    model = models.CharField(max_length=128)
    gib_hours = models.DecimalField(max_digits=38, decimal_places=6)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    payload_sha = models.BinaryField()
    stored_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "prefix_report"
        constraints = [
            models.UniqueConstraint(fields=["source_id", "report_id"], name="prefix_report_once")
        ]
        indexes = [
            models.Index(fields=["tenant_id", "started_at"], name="prefix_report_tenant"),
            models.Index(fields=["-started_at", "-id"], name="prefix_report_time"),
        ]

    def __str__(self) -> str:
        return str(self.report_id)


class PrefixHour(models.Model):
    """Sums of one hour, replaced as a whole by the roll-up."""

    tenant_id = models.BigIntegerField()
    hour = models.DateTimeField()
    application_id = models.BigIntegerField()
    model = models.CharField(max_length=128)
    gib_hours = models.DecimalField(max_digits=38, decimal_places=6)
    reports = models.BigIntegerField()

    class Meta:
        db_table = "prefix_hour"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "hour", "application_id", "model"], name="prefix_hour_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} {self.tenant_id} {self.model}"
