"""What a version of prices would have made of a month: asked for, then worked out in parts."""

from django.db import models
from django.db.models.functions import Now

from billing.models.prices import PriceBookVersion
from tenants.base.rows import Claimable


class PricePreview(Claimable):
    """A fleet's month priced twice, some tenants a pass. Only the newest of a version is shown.

    `reached` is the last tenant that has its line, so that a worker that dies loses one part.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        DONE = "done"

    version = models.ForeignKey(PriceBookVersion, models.CASCADE, related_name="previews")
    digest = models.CharField(max_length=64)  # of the prices that were tried
    month = models.CharField(max_length=7)
    tenants = models.PositiveIntegerField()
    tenants_done = models.PositiveIntegerField(default=0)
    reached = models.BigIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING.value)
    requested_by = models.CharField(max_length=254)
    requested_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "price_preview"

    def __str__(self) -> str:
        return f"{self.version_id} on {self.month}"


class PricePreviewLine(models.Model):
    """A tenant's month twice. Written once, with the part that it belongs to."""

    preview = models.ForeignKey(PricePreview, models.CASCADE, related_name="lines")
    tenant_id = models.BigIntegerField()
    old = models.DecimalField(max_digits=38, decimal_places=12)
    new = models.DecimalField(max_digits=38, decimal_places=12)
    unpriced_before = models.PositiveIntegerField()  # rows of usage without a price
    unpriced = models.PositiveIntegerField()

    class Meta:
        db_table = "price_preview_line"
        constraints = [
            models.UniqueConstraint(fields=["preview", "tenant_id"], name="price_preview_line_once")
        ]

    def __str__(self) -> str:
        return f"{self.preview_id} {self.tenant_id}: {self.old} to {self.new}"
