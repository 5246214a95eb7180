"""Exchange rates that people recorded. Rows are written once; a later one for a day corrects it."""

from django.db import models


class ExchangeRate(models.Model):
    """One unit of `base` is `rate` units of `quote`, on a day, as a source says."""

    base = models.CharField(max_length=3)
    quote = models.CharField(max_length=3)
    on = models.DateField(db_column="on_date")
    source = models.CharField(max_length=64)
    rate = models.DecimalField(max_digits=24, decimal_places=12)
    recorded_at = models.DateTimeField()
    recorded_by = models.CharField(max_length=254)

    class Meta:
        db_table = "exchange_rate"
        indexes = [
            models.Index(
                fields=["base", "quote", "source", "-on", "-id"], name="exchange_rate_lookup"
            )
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(rate__gt=0), name="exchange_rate_above_zero")
        ]

    def __str__(self) -> str:
        return f"{self.base}/{self.quote} {self.on} {self.source}"
