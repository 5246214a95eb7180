"""Days on which spending was out of the ordinary."""

from django.db import models


class SpendAnomaly(models.Model):
    """One service of one tenant on one UTC day. The last days are judged anew, and replaced."""

    tenant_id = models.BigIntegerField()
    day = models.DateField()
    model = models.CharField(max_length=128)
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=38, decimal_places=12)
    usual = models.DecimalField(max_digits=38, decimal_places=12)
    low = models.DecimalField(max_digits=38, decimal_places=12)
    high = models.DecimalField(max_digits=38, decimal_places=12)
    found_at = models.DateTimeField()

    class Meta:
        db_table = "spend_anomaly"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "day", "model", "currency"], name="spend_anomaly_once"
            )
        ]
        indexes = [models.Index(fields=["-day", "-id"], name="spend_anomaly_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.model} {self.amount}"
