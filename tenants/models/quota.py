from django.db import models
from django.db.models import Q

from tenants.models.tenant import Application, Tenant


class Quota(models.Model):
    """One version of the limits of a tenant, application or model. Never changed, superseded.

    A null limit means "no opinion"; 0 suspends. `series` is what all versions share: it names
    the counters in the gateway, so that a new version goes on counting where the old one was.
    """

    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="quotas")
    application = models.ForeignKey(Application, models.PROTECT, null=True, blank=True)
    model = models.CharField(max_length=128, blank=True)  # empty: all models together
    series = models.BigIntegerField(db_index=True, default=0)
    version = models.PositiveIntegerField(default=1)
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_minute = models.PositiveBigIntegerField(null=True, blank=True)
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    monthly_budget = models.DecimalField(max_digits=18, decimal_places=6, null=True, blank=True)
    monthly_input_tokens = models.PositiveBigIntegerField(null=True, blank=True)
    monthly_output_tokens = models.PositiveBigIntegerField(null=True, blank=True)
    monthly_tokens = models.PositiveBigIntegerField(null=True, blank=True)  # both together
    gpus = models.PositiveIntegerField(null=True, blank=True)
    valid_from = models.DateTimeField(auto_now_add=True)
    superseded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "quota"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "application", "model"],
                name="quota_one_current",
                condition=Q(superseded_at=None),
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(monthly_budget=None) | Q(monthly_budget__gte=0),
                name="quota_budget_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"quota {self.series} v{self.version}"
