"""What was billed: invoices and credit notes. Rows are written once and never changed."""

from django.db import models

from billing.models.periods import BillingPeriod


class DocumentSeries(models.Model):
    """The last number that an issuer gave. Locked while one is given, so that there is no gap."""

    issuer = models.CharField(max_length=200)
    kind = models.CharField(max_length=8)
    last_number = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "document_series"
        constraints = [
            models.UniqueConstraint(fields=["issuer", "kind"], name="document_series_once")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.last_number}"


class Document(models.Model):
    """What invoices and credit notes have in common: a number, and the frozen text of it all."""

    tenant_id = models.BigIntegerField()
    issuer = models.CharField(max_length=200)
    sequence = models.PositiveIntegerField()
    number = models.CharField(max_length=16)
    currency = models.CharField(max_length=3)
    net = models.DecimalField(max_digits=38, decimal_places=12)
    tax = models.DecimalField(max_digits=38, decimal_places=12)
    total = models.DecimalField(max_digits=38, decimal_places=12)
    issued_at = models.DateTimeField()
    issued_by = models.CharField(max_length=254)
    snapshot = models.TextField()  # canonical JSON
    sha256 = models.CharField(max_length=64)  # of the snapshot
    pdf = models.BinaryField()
    pdf_sha256 = models.CharField(max_length=64)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.number


class Invoice(Document):
    """The charges of one account, period and currency of prices that no invoice had before it.

    These are the charges billed in the period with ids in (after_charge, upto_charge]. Where they
    are in another currency than the invoice, one exchange rate converts all of them.
    """

    period = models.ForeignKey(BillingPeriod, models.PROTECT, related_name="invoices")
    rounding = models.CharField(max_length=9)
    tax_per = models.CharField(max_length=7)
    taxes = models.JSONField(default=list)
    due_on = models.DateField()
    priced_in = models.CharField(max_length=3)  # the currency of the charges
    rate = models.DecimalField(max_digits=24, decimal_places=12, default=1)
    rate_on = models.DateField(null=True)  # null: nothing was converted
    rate_source = models.CharField(max_length=64, blank=True, default="")
    after_charge = models.BigIntegerField()
    upto_charge = models.BigIntegerField()

    class Meta:
        db_table = "invoice"
        constraints = [
            models.UniqueConstraint(fields=["issuer", "sequence"], name="invoice_sequence"),
            models.UniqueConstraint(
                fields=["period", "priced_in", "after_charge"], name="invoice_once"
            ),
        ]
        indexes = [models.Index(fields=["tenant_id", "-id"], name="invoice_tenant")]


class InvoiceLine(models.Model):
    """One SKU at one unit price, a tax, or the rounding. `exact` sums to what `amount` sums to."""

    tenant_id = models.BigIntegerField()
    invoice = models.ForeignKey(Invoice, models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=10)
    name = models.CharField(max_length=320)
    model = models.CharField(max_length=128, blank=True)
    meter = models.CharField(max_length=32, blank=True)
    runs_on = models.CharField(max_length=120, default="", db_default="", blank=True)
    corrects = models.CharField(max_length=7, blank=True)  # the period that the usage is of
    quantity = models.DecimalField(max_digits=38, decimal_places=6, null=True)
    unit_price = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    rate = models.DecimalField(max_digits=7, decimal_places=6, null=True)
    exact = models.DecimalField(max_digits=38, decimal_places=12)
    amount = models.DecimalField(max_digits=38, decimal_places=12)
    tax = models.DecimalField(max_digits=38, decimal_places=12, default=0)
    charges = models.IntegerField(default=0)
    charges_sha256 = models.CharField(max_length=64, blank=True)
    starts_at = models.DateTimeField()  # when the usage was
    ends_at = models.DateTimeField()

    class Meta:
        db_table = "invoice_line"
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_position")
        ]

    def __str__(self) -> str:
        return f"{self.position} {self.name}"


class CreditNote(Document):
    """Gives back a part of lines of one invoice. Amounts are above 0 and count against it."""

    invoice = models.ForeignKey(Invoice, models.PROTECT, related_name="credit_notes")
    why = models.TextField()

    class Meta:
        db_table = "credit_note"
        constraints = [
            models.UniqueConstraint(fields=["issuer", "sequence"], name="credit_note_sequence")
        ]
        indexes = [models.Index(fields=["tenant_id", "-id"], name="credit_note_tenant")]


class CreditNoteLine(models.Model):
    tenant_id = models.BigIntegerField()
    note = models.ForeignKey(CreditNote, models.PROTECT, related_name="lines")
    line = models.ForeignKey(InvoiceLine, models.PROTECT, related_name="credited")
    position = models.PositiveIntegerField()
    amount = models.DecimalField(max_digits=38, decimal_places=12)  # in money, before tax
    promoted = models.DecimalField(max_digits=38, decimal_places=12, default=0)  # to promotions
    tax = models.DecimalField(max_digits=38, decimal_places=12)

    class Meta:
        db_table = "credit_note_line"
        constraints = [
            models.UniqueConstraint(fields=["note", "position"], name="credit_note_line_position"),
            models.CheckConstraint(
                condition=models.Q(amount__gte=0, promoted__gte=0)
                & (models.Q(amount__gt=0) | models.Q(promoted__gt=0)),
                name="credit_note_line_above_zero",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.position} {self.amount}"
