"""Drills: a rollout that is taken back or a pod that is killed on purpose, and the report of it.

Plan and report are append-only.
"""

from django.conf import settings
from django.db import models

from fleet.models.cluster import Cluster
from fleet.models.release import Release
from fleet.models.rollout import Rollout
from fleet.models.service import Service
from fleet.rules.drill import DrillVerdict, Moment
from fleet.rules.pod_loss import LossPhase
from tenants.base.rows import Claimable


class Drill(models.Model):
    """The frozen plan. What happens stands in its rollout, or in its loss of a pod; what came of it
    in its report.
    """

    service = models.ForeignKey(Service, models.PROTECT, related_name="drills")
    rollout = models.OneToOneField(Rollout, models.PROTECT, null=True, related_name="drill")
    moment = models.CharField(max_length=12, choices=[(m.value, m.value) for m in Moment])
    step = models.PositiveSmallIntegerField(default=0)  # of Moment.STEP, from 1
    limits = models.JSONField()  # fleet.rules.drill.Limits
    promise = models.JSONField()  # fleet.rules.drill.Promise: what the plan said beforehand
    reason = models.TextField(blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "drill"
        indexes = [models.Index(fields=["service", "-id"], name="drill_service")]

    def __str__(self) -> str:
        return f"DR-{self.pk}"


class DrillReport(models.Model):
    drill = models.OneToOneField(Drill, models.PROTECT, related_name="report")
    at = models.DateTimeField()
    verdict = models.CharField(max_length=8, choices=[(v.value, v.value) for v in DrillVerdict])
    why = models.TextField()
    report = models.JSONField()  # phases, checks, moments, requests lost by tenant
    digest = models.CharField(max_length=64)  # SHA-256 of `report`

    class Meta:
        db_table = "drill_report"
        indexes = [models.Index(fields=["-at"], name="drill_report_at")]

    def __str__(self) -> str:
        return f"{self.drill} {self.verdict}"


class PodLoss(Claimable):
    """A replica of a service that is killed on purpose. Written by the drive, holding the claim."""

    drill = models.OneToOneField(Drill, models.PROTECT, related_name="loss")
    service = models.ForeignKey(Service, models.PROTECT, related_name="losses")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="+")
    release = models.ForeignKey(Release, models.PROTECT, related_name="+")
    change_id = models.BigIntegerField(null=True)  # tenants.ChangeRequest
    consent = models.BooleanField()  # to the only replica

    phase = models.CharField(max_length=20, choices=[(p.value, p.value) for p in LossPhase])
    phase_since = models.DateTimeField()
    why = models.TextField()
    timeline = models.JSONField(default=list)  # at, phase, who, why: of each phase
    uid = models.CharField(max_length=36, blank=True)  # of the pod
    pod = models.CharField(max_length=253, blank=True)
    node = models.CharField(max_length=253, blank=True)
    gpus = models.PositiveIntegerField(default=0)
    before = models.PositiveIntegerField(default=0)  # replicas that served
    least = models.PositiveIntegerField(null=True)  # that served at any pass since
    killed_at = models.DateTimeField(null=True)
    out_at = models.DateTimeField(null=True)  # gateways were told of it no more
    replaced_by = models.CharField(max_length=253, blank=True)
    replaced_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "pod_loss"
        constraints = [
            models.UniqueConstraint(
                fields=["service"], condition=models.Q(ended_at=None), name="pod_loss_one_open"
            )
        ]

    def __str__(self) -> str:
        return f"{self.drill} {self.phase}"
