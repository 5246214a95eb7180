"""Cost: what the fleet's GPUs cost, and who caused it."""

from decimal import Decimal

from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import Q


class GpuPriceSheet(models.Model):
    """What an hour of each GPU product costs us in a range of time. Ranges never overlap.

    Without a range: a draft, which holds for nothing.
    """

    number = models.PositiveIntegerField(unique=True)
    currency = models.CharField(max_length=3)
    why = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=254)
    effective = DateTimeRangeField(null=True)
    change_id = models.BigIntegerField(null=True)  # the proposal that waits or was approved
    version = models.PositiveIntegerField(default=1, db_default=1)  # of a draft, for its ETag

    class Meta:
        db_table = "gpu_price_sheet"

    def __str__(self) -> str:
        return f"GPU prices {self.number}"

    @property
    def etag(self) -> str:
        return f'"{self.pk}-{self.version}"'


class GpuPrice(models.Model):
    """A line of a sheet: how GPUs of a product on some nodes are paid, and what an hour costs."""

    sheet = models.ForeignKey(GpuPriceSheet, models.PROTECT, related_name="prices")
    product = models.CharField(max_length=120)
    hourly = models.DecimalField(max_digits=24, decimal_places=12)
    # rules.node_prices.PayKind
    kind = models.CharField(max_length=12, default="on_demand", db_default="on_demand")
    # Which nodes; empty: every one.
    cluster = models.CharField(max_length=63, default="", db_default="", blank=True)
    node_pool = models.CharField(max_length=63, default="", db_default="", blank=True)
    capacity = models.CharField(max_length=12, default="", db_default="", blank=True)
    # {name: number as text} that the hour was computed from, and {part: number as text} of it;
    # empty: a flat price.
    terms = models.JSONField(default=dict, db_default={})
    parts = models.JSONField(default=dict, db_default={})

    class Meta:
        db_table = "gpu_price"
        constraints = [
            models.UniqueConstraint(
                fields=["sheet", "product", "cluster", "node_pool", "capacity"],
                name="gpu_price_of_nodes_once",
            ),
            models.CheckConstraint(condition=Q(hourly__gte=0), name="gpu_price_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.product} {self.hourly}"


class AllocationRun(models.Model):
    """One attribution of one hour of the fleet. A later run of the hour takes its place."""

    hour = models.DateTimeField()
    method = models.CharField(max_length=32)
    currency = models.CharField(max_length=3)
    sheet = models.ForeignKey(GpuPriceSheet, models.PROTECT)
    cost = models.DecimalField(max_digits=38, decimal_places=12)
    gpu_ms = models.BigIntegerField()
    input_sha = models.CharField(max_length=64)
    finished_at = models.DateTimeField()
    is_current = models.BooleanField(default=True)

    class Meta:
        db_table = "allocation_run"
        constraints = [
            models.UniqueConstraint(
                fields=["hour"], name="allocation_run_current", condition=Q(is_current=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} {self.cost}"


class CostPool(models.Model):
    """GPU time of one kind in one hour, and what it cost: the origin that shares add up to.

    `cost` is null while nobody gave the product a price; such a pool is listed, not counted.
    """

    run = models.ForeignKey(AllocationRun, models.PROTECT, related_name="pools")
    hour = models.DateTimeField()
    cluster = models.CharField(max_length=63)
    product = models.CharField(max_length=120)
    node_pool = models.CharField(max_length=63, default="", db_default="")
    capacity = models.CharField(max_length=12, default="", db_default="")
    profile = models.CharField(max_length=32, default="", db_default="")  # of a part of a GPU
    state = models.CharField(max_length=8)
    service_id = models.BigIntegerField(default=0)
    gpu_ms = models.BigIntegerField()
    hourly = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    cost = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    # The line that priced it. No constraint and no index: lines are never deleted.
    price = models.ForeignKey(
        GpuPrice,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )

    class Meta:
        db_table = "cost_pool"
        indexes = [models.Index(fields=["hour"], name="cost_pool_time")]

    def __str__(self) -> str:
        return f"{self.product} {self.state} {self.cost}"


class Allocation(models.Model):
    """A share of one pool: a tenant's, idle, or overhead. A pool's shares sum to it exactly."""

    class Kind(models.TextChoices):
        TENANT = "tenant"
        IDLE = "idle"
        OVERHEAD = "overhead"

    pool = models.ForeignKey(CostPool, models.PROTECT, related_name="shares")
    hour = models.DateTimeField()
    kind = models.CharField(max_length=8, choices=Kind.choices)
    tenant_id = models.BigIntegerField(null=True)
    application_id = models.BigIntegerField(null=True)
    model = models.CharField(max_length=128)
    release = models.CharField(max_length=32, db_default="")
    weight = models.BigIntegerField()  # GPU-milliseconds that decided the share
    amount = models.DecimalField(max_digits=38, decimal_places=12)
    # What the cached tokens would have cost at the same price of work; in no sum.
    saved = models.DecimalField(max_digits=38, decimal_places=12, db_default=Decimal(0))

    class Meta:
        db_table = "allocation"
        indexes = [
            models.Index(fields=["tenant_id", "hour"], name="allocation_tenant"),
            models.Index(fields=["hour", "id"], name="allocation_time"),  # the newest, any tenant
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"

    @property
    def gpu_hours(self) -> float:
        return self.weight / 3_600_000


class CostDay(models.Model):
    """Sums of the current allocations by UTC day, replaced as a whole: what pages read."""

    day = models.DateField()
    kind = models.CharField(max_length=8)
    tenant_id = models.BigIntegerField(null=True)
    application_id = models.BigIntegerField(null=True)
    model = models.CharField(max_length=128)
    release = models.CharField(max_length=32, db_default="")
    product = models.CharField(max_length=120)
    state = models.CharField(max_length=8)
    currency = models.CharField(max_length=3)
    weight = models.BigIntegerField()
    amount = models.DecimalField(max_digits=38, decimal_places=12)
    saved = models.DecimalField(max_digits=38, decimal_places=12, db_default=Decimal(0))

    class Meta:
        db_table = "cost_day"
        indexes = [
            models.Index(fields=["day"], name="cost_day_time"),
            models.Index(fields=["tenant_id", "day"], name="cost_day_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.kind} {self.amount}"


class OtherCost(models.Model):
    """A line of what the fleet costs besides GPUs. Never changed: a mistake is given back by
    another line, of an amount below zero."""

    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    kind = models.CharField(max_length=8)  # platform, hosted
    name = models.CharField(max_length=200)
    model = models.CharField(max_length=128, blank=True)  # the service whose tokens decide
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=38, decimal_places=12)
    key = models.CharField(max_length=64, unique=True)
    recorded_at = models.DateTimeField()
    recorded_by = models.CharField(max_length=254)

    class Meta:
        db_table = "other_cost"
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__gt=models.F("starts_at")), name="other_cost_takes_time"
            )
        ]
        indexes = [models.Index(fields=["starts_at", "ends_at"], name="other_cost_time")]

    def __str__(self) -> str:
        return f"{self.name} {self.amount:f} {self.currency}"
