"""GPUs that are kept for one tenant."""

from django.db import models
from django.db.models import Q

from tenants.base.rows import Versioned


class GpuReservation(Versioned):
    """Its idle time is charged to its owner. It only ends; another one begins."""

    tenant_id = models.BigIntegerField()
    product = models.CharField(max_length=120)
    cluster = models.CharField(max_length=63, blank=True)  # slug; empty: any
    node_pool = models.CharField(max_length=63, blank=True)
    gpus = models.PositiveIntegerField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    why = models.TextField()
    created_by = models.CharField(max_length=254)

    class Meta:
        db_table = "gpu_reservation"
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(ends_at__gte=models.F("starts_at")),
                name="gpu_reservation_ends_after_it_begins",
            ),
            models.CheckConstraint(condition=Q(gpus__gt=0), name="gpu_reservation_of_some"),
        ]
        indexes = [
            models.Index(fields=["tenant_id", "-id"], name="gpu_reservation_tenant"),
            models.Index(fields=["starts_at", "ends_at"], name="gpu_reservation_time"),
        ]

    def __str__(self) -> str:
        return f"{self.gpus} x {self.product}"
