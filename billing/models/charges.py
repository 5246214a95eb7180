"""Revenue: what tenants pay, as rows that are only ever added."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F


class RatingRun(models.Model):
    """One pass of rating that wrote charges. Its inputs are named by their digest.

    What is null is not kept: of runs from before it was.
    """

    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    hours = models.IntegerField()  # hours of tenants that were compared
    charges = models.IntegerField()  # rows written
    input_sha = models.CharField(max_length=64)
    rules_version = models.CharField(max_length=16)
    first_hour = models.DateTimeField(null=True)  # of those that were compared
    last_hour = models.DateTimeField(null=True)
    cut_off = models.DateTimeField(null=True)  # their usage was rolled up until then
    book_versions = ArrayField(models.BigIntegerField(), null=True)  # ids, of contracts too

    class Meta:
        db_table = "rating_run"

    def __str__(self) -> str:
        return f"run-{self.pk}"


class Charge(models.Model):
    """Quantity x unit price of one meter in one hour. The sum of a key's rows is what is owed.

    Later knowledge adds a difference: late usage a second row, another price a reversal at the
    old price and a row at the new one. Quantities may therefore be negative.
    """

    # A trigger of each statement checks what charges refer to: keys would look up every row.
    run = models.ForeignKey(RatingRun, models.PROTECT, db_index=False, db_constraint=False)
    hour = models.DateTimeField()
    tenant_id = models.BigIntegerField()
    application_id = models.BigIntegerField()
    model = models.CharField(max_length=128)
    traffic_class = models.CharField(max_length=12)
    meter = models.CharField(max_length=12)
    # A GPU product of GPU time, else the hosted provider that answered; empty: not known, or none.
    runs_on = models.CharField(max_length=120, default="", db_default="", blank=True)
    quantity = models.DecimalField(max_digits=38, decimal_places=6)
    unit_price = models.DecimalField(max_digits=24, decimal_places=12)
    amount = models.DecimalField(max_digits=38, decimal_places=12)
    currency = models.CharField(max_length=3)
    book_version = models.ForeignKey(
        "billing.PriceBookVersion",
        models.PROTECT,
        db_index=False,
        db_constraint=False,
        related_name="+",
    )
    # Set: a correction of a closed period, billed in this open one. Null: billed where it lies.
    correction_period = models.ForeignKey(
        "billing.BillingPeriod",
        models.PROTECT,
        db_index=False,
        db_constraint=False,
        related_name="+",
        null=True,
    )

    class Meta:
        db_table = "charge"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount=F("quantity") * F("unit_price")), name="charge_exact"
            )
        ]
        indexes = [
            # A tenant's too: PostgreSQL skips from hour to hour. One by tenant, beside one by hour,
            # was a tenth of what rating takes.
            models.Index(fields=["hour", "tenant_id"], name="charge_hour_tenant"),
            models.Index(
                fields=["correction_period"],
                name="charge_correction",
                condition=models.Q(correction_period__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} {self.model} {self.meter} {self.amount}"


class ChargeRelease(models.Model):
    """Charges by UTC day and the release that answered, replaced with the day's sums.

    Empty release: fees, and usage whose release is not known.
    """

    day = models.DateField()
    tenant_id = models.BigIntegerField()
    model = models.CharField(max_length=128)
    release = models.CharField(max_length=32)
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=38, decimal_places=12)

    class Meta:
        db_table = "charge_release"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "day", "model", "release", "currency"],
                name="charge_release_key",
            )
        ]
        indexes = [models.Index(fields=["day"], name="charge_release_time")]

    def __str__(self) -> str:
        return f"{self.day} {self.tenant_id} {self.release} {self.amount}"


class ChargeDay(models.Model):
    """Sums of charges by UTC day, replaced as a whole: what pages read."""

    day = models.DateField()
    tenant_id = models.BigIntegerField()
    application_id = models.BigIntegerField()
    model = models.CharField(max_length=128)
    traffic_class = models.CharField(max_length=12)
    meter = models.CharField(max_length=12)
    currency = models.CharField(max_length=3)
    quantity = models.DecimalField(max_digits=38, decimal_places=6)
    amount = models.DecimalField(max_digits=38, decimal_places=12)

    class Meta:
        db_table = "charge_day"
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "tenant_id",
                    "day",
                    "application_id",
                    "model",
                    "traffic_class",
                    "meter",
                    "currency",
                ],
                name="charge_day_key",
            )
        ]
        indexes = [models.Index(fields=["day"], name="charge_day_time")]

    def __str__(self) -> str:
        return f"{self.day} {self.tenant_id} {self.amount}"


class ChargeTotal(models.Model):
    """Sums of `ChargeDay` by tenant and model, replaced with it: what pages of the fleet read."""

    day = models.DateField()
    tenant_id = models.BigIntegerField()
    model = models.CharField(max_length=128)
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=38, decimal_places=12)

    class Meta:
        db_table = "charge_total"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "day", "model", "currency"], name="charge_total_key"
            )
        ]
        indexes = [models.Index(fields=["day"], name="charge_total_time")]

    def __str__(self) -> str:
        return f"{self.day} {self.tenant_id} {self.amount}"


class ChargeSum(models.Model):
    """Sums of `ChargeTotal` by tenant, replaced with it: what a month of all tenants adds up."""

    day = models.DateField()
    tenant_id = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=38, decimal_places=12)

    class Meta:
        db_table = "charge_sum"
        constraints = [
            models.UniqueConstraint(fields=["tenant_id", "day", "currency"], name="charge_sum_key")
        ]
        indexes = [models.Index(fields=["day"], name="charge_sum_time")]

    def __str__(self) -> str:
        return f"{self.day} {self.tenant_id} {self.amount}"


class UnpricedUsage(models.Model):
    """Billable usage that no price covers: visible, never taken for zero."""

    hour = models.DateTimeField()
    tenant_id = models.BigIntegerField()
    application_id = models.BigIntegerField()
    model = models.CharField(max_length=128)
    traffic_class = models.CharField(max_length=12)
    meter = models.CharField(max_length=12)
    runs_on = models.CharField(max_length=120, default="", db_default="", blank=True)
    quantity = models.DecimalField(max_digits=38, decimal_places=6)

    class Meta:
        db_table = "unpriced_usage"
        indexes = [models.Index(fields=["tenant_id", "hour"], name="unpriced_usage_tenant")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} {self.model} {self.meter}"
