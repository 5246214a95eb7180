from datetime import UTC, datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models

from fleet.models.cluster import Cluster
from fleet.models.service import Service

# As `fleet.rules.freeze.YEARS`: what reads the calendar cannot count beyond.
FIRST, OVER = datetime(2000, 1, 1, tzinfo=UTC), datetime(2201, 1, 1, tzinfo=UTC)


class Freeze(models.Model):
    """A time in which no rollout begins: once, every week, or a hold until somebody ends it."""

    title = models.CharField(max_length=120)
    reason = models.TextField()
    cluster = models.ForeignKey(Cluster, models.CASCADE, null=True, related_name="freezes")
    service = models.ForeignKey(Service, models.CASCADE, null=True, related_name="freezes")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)  # null: until somebody ends it
    weekdays = ArrayField(models.PositiveSmallIntegerField(), default=list, blank=True)  # 0 Monday
    from_time = models.TimeField(null=True)  # of a weekly one, in its zone
    minutes = models.PositiveIntegerField(default=0)  # its length each time
    zone = models.CharField(max_length=64, default="UTC")  # IANA
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=254, blank=True)
    closed_why = models.TextField(blank=True)

    class Meta:
        db_table = "freeze"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(cluster=None) | models.Q(service=None), name="freeze_one_scope"
            ),
            models.CheckConstraint(
                condition=models.Q(weekdays=[]) | models.Q(from_time__isnull=False),
                name="freeze_weekly_has_time",
            ),
            models.CheckConstraint(
                condition=models.Q(starts_at__gte=FIRST, starts_at__lt=OVER)
                & (models.Q(ends_at=None) | models.Q(ends_at__gte=FIRST, ends_at__lt=OVER)),
                name="freeze_years",
            ),
        ]

    def __str__(self) -> str:
        return self.title
