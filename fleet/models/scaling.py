from django.db import models
from django.db.models import F, Q

from fleet.models.service import Service
from tenants.base.rows import Claimable, Versioned


class ScalingPolicy(Versioned, Claimable):
    """Between which numbers of replicas a service is scaled, and by which load.

    People write the bounds; the drive, holding the claim, writes what a pass needs.
    """

    service = models.OneToOneField(Service, models.CASCADE, related_name="scaling")
    min_replicas = models.PositiveIntegerField()
    max_replicas = models.PositiveIntegerField()
    target = models.PositiveIntegerField()  # requests in flight of one replica
    stable_seconds = models.PositiveIntegerField(default=300)
    pause_seconds = models.PositiveIntegerField(default=60)
    # [{weekdays, from_time, to_time, min_replicas, max_replicas}]: hours with other bounds
    hours = models.JSONField(default=list)
    zone = models.CharField(max_length=64, default="UTC")  # IANA, of the hours
    # What follows means something where the minimum is 0, at least at some hours.
    idle_seconds = models.PositiveIntegerField(default=900)  # without a request, until it sleeps
    wait_seconds = models.PositiveIntegerField(default=300)  # longest wait for it to wake
    max_waiting = models.PositiveIntegerField(default=64)  # requests, in all gateways
    called_at = models.DateTimeField(null=True)  # a person wakes it

    # Written by the drive. Both null: it is awake.
    slept_at = models.DateTimeField(null=True)
    woken_at = models.DateTimeField(null=True)  # its first replica was ordered

    class Meta:
        db_table = "scaling_policy"
        constraints = [
            models.CheckConstraint(
                condition=Q(max_replicas__gte=F("min_replicas"), target__gte=1)
                & Q(max_replicas__gte=1),
                name="scaling_policy_bounds",
            )
        ]

    def __str__(self) -> str:
        return f"{self.service} {self.min_replicas} to {self.max_replicas}"


class ScalingDecision(models.Model):
    """One look: what was seen, wanted and given, and why. Written by the drive only."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="scalings")
    at = models.DateTimeField()
    running = models.FloatField()
    waiting = models.FloatField()  # in engines
    queued = models.FloatField(null=True)  # in gateways; null: not known
    demand = models.FloatField(null=True)  # all of them; null: not all could be asked
    forecast = models.FloatField(null=True)
    target = models.PositiveIntegerField()
    serving = models.PositiveIntegerField()
    declared = models.PositiveIntegerField()  # before
    wanted = models.PositiveIntegerField()
    given = models.PositiveIntegerField()  # from then on
    changed = models.BooleanField()
    why = models.TextField()

    class Meta:
        db_table = "scaling_decision"
        indexes = [
            models.Index(fields=["service", "-at"], name="scaling_decision_service"),
            models.Index(
                fields=["service", "-at"],
                condition=Q(changed=True),
                name="scaling_decision_changed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service_id} {self.declared} to {self.given}"
