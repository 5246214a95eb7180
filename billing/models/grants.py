"""Credits of accounts: what was granted, and the entries of what became of it."""

from django.db import models

from billing.models.invoices import CreditNote, Invoice, InvoiceLine


class CreditGrant(models.Model):
    """Triggers keep what was granted as it is; only an approved change makes it active."""

    tenant_id = models.BigIntegerField()
    name = models.CharField(max_length=120)
    amount = models.DecimalField(max_digits=38, decimal_places=12)
    currency = models.CharField(max_length=3)
    paid = models.BooleanField()  # prepaid, a liability; else a promotion
    reference = models.CharField(max_length=64, blank=True)  # of the payment
    priority = models.PositiveSmallIntegerField()
    model = models.CharField(max_length=128, blank=True)
    meter = models.CharField(max_length=32, blank=True)
    expires_at = models.DateTimeField(null=True)
    why = models.TextField()
    asked_by = models.CharField(max_length=254)
    asked_at = models.DateTimeField()
    state = models.CharField(max_length=8, default="waiting")
    change_id = models.BigIntegerField(null=True)  # tenants.ChangeRequest
    decided_by = models.CharField(max_length=254, blank=True)

    class Meta:
        db_table = "credit_grant"
        indexes = [
            models.Index(fields=["tenant_id", "-id"], name="credit_grant_tenant"),
            models.Index(fields=["state", "expires_at"], name="credit_grant_state"),
        ]

    def __str__(self) -> str:
        return self.name


class CreditEntry(models.Model):
    """Written once. The sum of a grant's entries is what is left of it, and never below zero."""

    tenant_id = models.BigIntegerField()
    grant = models.ForeignKey(CreditGrant, models.PROTECT, related_name="entries")
    kind = models.CharField(max_length=7)  # granted, used, undone, expired
    amount = models.DecimalField(max_digits=38, decimal_places=12)  # below 0: used, expired
    invoice = models.ForeignKey(Invoice, models.PROTECT, null=True, related_name="credit_entries")
    line = models.ForeignKey(InvoiceLine, models.PROTECT, null=True, related_name="credit_entries")
    note = models.ForeignKey(CreditNote, models.PROTECT, null=True, related_name="credit_entries")
    at = models.DateTimeField()
    by = models.CharField(max_length=254)

    class Meta:
        db_table = "credit_entry"
        constraints = [
            models.UniqueConstraint(
                fields=["grant", "kind"],
                condition=models.Q(kind__in=["granted", "expired"]),
                name="credit_entry_once",
            ),
            models.UniqueConstraint(
                fields=["grant", "line"],
                condition=models.Q(kind="used"),
                name="credit_entry_once_a_line",
            ),
            models.UniqueConstraint(
                fields=["grant", "line", "note"],
                condition=models.Q(kind="undone"),
                name="credit_entry_undone_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"
