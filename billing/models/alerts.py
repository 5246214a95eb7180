"""Alerts of budgets: who is told, what was reached, and each delivery of it."""

from enum import StrEnum

from django.contrib.postgres.fields import ArrayField
from django.db import models

from tenants.base.rows import Claimable, Versioned
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


class AlertWebhook(models.Model):
    """A receiver of signed messages. Its secret is encrypted, and shown once when it is made."""

    tenant_id = models.BigIntegerField()
    url = models.CharField(max_length=2000)
    secret = models.BinaryField()
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=254)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "alert_webhook"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "url"],
                condition=models.Q(removed_at=None),
                name="alert_webhook_once",
            )
        ]

    def __str__(self) -> str:
        return self.url


class BudgetAlert(models.Model):
    """A threshold that was reached, once for each budget and period. Written once.

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
    payload = models.TextField()
    at = models.DateTimeField()

    class Meta:
        db_table = "budget_alert"
        constraints = [
            models.UniqueConstraint(
                fields=["series", "kind", "period", "threshold"], name="budget_alert_once"
            )
        ]
        indexes = [models.Index(fields=["tenant_id", "-id"], name="budget_alert_tenant")]

    def __str__(self) -> str:
        return f"{self.threshold} % of {self.series} in {self.period}"


class AlertDelivery(Claimable):
    """One alert to one receiver, tried until it is taken or the tries are over."""

    class State(StrEnum):
        WAITING = "waiting"
        DONE = "done"
        FAILED = "failed"

    tenant_id = models.BigIntegerField()
    alert = models.ForeignKey(BudgetAlert, models.PROTECT, related_name="deliveries")
    webhook = models.ForeignKey(AlertWebhook, models.PROTECT, null=True)
    mail = models.CharField(max_length=254, blank=True)  # where there is no webhook
    state = models.CharField(max_length=7, default=State.WAITING.value)
    tries = models.PositiveSmallIntegerField(default=0)
    answered = models.PositiveSmallIntegerField(null=True)  # status of the last answer
    why = models.TextField(blank=True)  # it was not taken
    tried_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "alert_delivery"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(webhook=None) ^ models.Q(mail=""),
                name="alert_delivery_one_way",
            )
        ]

    def __str__(self) -> str:
        return f"{self.alert_id} to {self.mail or self.webhook_id}"
