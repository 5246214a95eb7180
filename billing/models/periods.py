"""Who is billed and for which months: accounts, periods, and what people signed off."""

from django.db import models
from django.db.models.functions import Now

from tenants.base.rows import Versioned


class BillingAccount(Versioned):
    """How a tenant is billed. A tenant without one is billed by the defaults of its own row."""

    tenant_id = models.BigIntegerField(unique=True)
    name = models.CharField(max_length=120)  # whom the invoice is addressed to
    currency = models.CharField(max_length=3)  # of its invoices
    # Whose exchange rates convert charges in another currency.
    rate_source = models.CharField(max_length=64, blank=True, default="")
    time_zone = models.CharField(max_length=64)
    purchase_order = models.CharField(max_length=64, blank=True)
    terms_days = models.PositiveSmallIntegerField(default=30)
    rounding = models.CharField(max_length=9, default="HALF_EVEN")
    tax_per = models.CharField(max_length=7, default="invoice")
    taxes = models.JSONField(default=list)  # [{"name": "VAT", "rate": "0.19"}]

    class Meta:
        db_table = "billing_account"

    def __str__(self) -> str:
        return self.name


class BillingPeriod(models.Model):
    """A month of an account as UTC instants, and how far its books are.

    Triggers keep what is closed as it is: no charge joins it, and only an approved change opens
    it again.
    """

    tenant_id = models.BigIntegerField()
    name = models.CharField(max_length=7)  # 2026-11
    time_zone = models.CharField(max_length=64)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    state = models.CharField(max_length=7, default="open")
    cut_off = models.DateTimeField(null=True)  # closing began; the close is what cuts
    closed_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=254, blank=True)
    change_id = models.BigIntegerField(null=True)  # tenants.ChangeRequest: waits to be reopened
    reopened_by_change = models.BigIntegerField(default=0)  # the last one that opened it again
    created_at = models.DateTimeField(db_default=Now())
    # Opened under rules before 6: a part of its fees and minima has 6 decimals, as it was charged.
    cuts_shares = models.BooleanField(default=False, db_default=False)
    # Of its state; null: none since it was kept. A trigger lets it only go ahead.
    changed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "billing_period"
        constraints = [
            models.UniqueConstraint(fields=["tenant_id", "name"], name="billing_period_name")
        ]
        indexes = [models.Index(fields=["state", "-starts_at"], name="billing_period_state")]

    def __str__(self) -> str:
        return self.name


class PeriodSignOff(models.Model):
    """A person took something upon himself that stood in the way of a close. Never changed."""

    tenant_id = models.BigIntegerField()
    period = models.ForeignKey(BillingPeriod, models.PROTECT, related_name="signed")
    key = models.CharField(max_length=10)  # of the check
    number = models.BigIntegerField()
    # Names of what was in the way, where it has names, and how good each was from 0 to 1.
    covers = models.JSONField(default=dict, db_default={})
    why = models.TextField()
    by = models.CharField(max_length=254)
    at = models.DateTimeField()

    class Meta:
        db_table = "period_sign_off"

    def __str__(self) -> str:
        return f"{self.key} {self.number}"
