"""Alerts of budgets: from which percents on, and what was reached."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from billing.models.events import FinanceEvent
from tenants.base.rows import Versioned
from tenants.rules.quotas import BudgetKind


class AlertSettings(Versioned):
    """Who is told of a tenant's budgets by mail, and from which percents on."""

    tenant_id = models.BigIntegerField(unique=True)
    thresholds = ArrayField(models.PositiveSmallIntegerField())
    mails = ArrayField(models.CharField(max_length=254), default=list)

    class Meta:
        db_table = "alert_settings"

    def __str__(self) -> str:
        return f"{self.tenant_id}"


class BudgetAlert(models.Model):
    """A threshold that was reached, once for each budget, limit and period. Written once.

    Of the kind "commitment": the minimum of a contract ends soon. Then `series` is the contract's
    version, `period` the month in which it was told, `threshold` days before the end, `budget` and
    `spent` what that month asks for and had.
    """

    tenant_id = models.BigIntegerField()
    series = models.BigIntegerField()  # of the quota, through all its versions
    kind = models.CharField(max_length=13, default=BudgetKind.MONEY.value)
    period = models.CharField(max_length=7)
    threshold = models.PositiveSmallIntegerField()  # percent
    budget = models.DecimalField(max_digits=38, decimal_places=12)
    spent = models.DecimalField(max_digits=38, decimal_places=12)
    currency = models.CharField(max_length=3)  # empty: tokens
    event = models.OneToOneField(FinanceEvent, models.PROTECT, related_name="alert")
    at = models.DateTimeField()

    class Meta:
        db_table = "budget_alert"
        constraints = [
            models.UniqueConstraint(
                fields=["series", "kind", "period", "threshold", "budget"],
                name="budget_alert_once",
            )
        ]
        indexes = [models.Index(fields=["tenant_id", "-id"], name="budget_alert_tenant")]

    def __str__(self) -> str:
        return f"{self.threshold} % of {self.series} in {self.period}"
