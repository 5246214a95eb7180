"""The double-entry journal: each transaction's legs sum to zero in each currency."""

from decimal import Decimal

from django.db import models


class JournalTxn(models.Model):
    """Something that happened to money. `key` makes a repeat the same transaction."""

    tenant_id = models.BigIntegerField()
    key = models.CharField(max_length=120, unique=True)
    kind = models.CharField(
        max_length=12
    )  # invoice, credit_note, payment, prepayment, prepaid_use, prepaid_back, breakage
    document = models.CharField(max_length=64)  # its number, or the payer's reference
    at = models.DateTimeField()
    by = models.CharField(max_length=254)

    class Meta:
        db_table = "journal_txn"
        indexes = [models.Index(fields=["tenant_id", "-id"], name="journal_txn_tenant")]

    def __str__(self) -> str:
        return self.key


class JournalLeg(models.Model):
    """Above zero: debit. A trigger refuses a statement that leaves a transaction unbalanced."""

    tenant_id = models.BigIntegerField()
    txn = models.ForeignKey(JournalTxn, models.PROTECT, related_name="legs")
    account = models.CharField(max_length=20)
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=38, decimal_places=12)

    class Meta:
        db_table = "journal_leg"
        indexes = [models.Index(fields=["tenant_id", "account", "id"], name="journal_leg_account")]

    def __str__(self) -> str:
        return f"{self.account} {self.amount}"

    @property
    def debit(self) -> Decimal:
        return max(self.amount, Decimal(0))

    @property
    def credit(self) -> Decimal:
        return max(-self.amount, Decimal(0))
