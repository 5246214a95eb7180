"""Drills: a rollout that is taken back on purpose, and the report of it. Both append-only."""

from django.conf import settings
from django.db import models

from fleet.models.rollout import Rollout
from fleet.models.service import Service
from fleet.rules.drill import DrillVerdict, Moment


class Drill(models.Model):
    """The frozen plan. What happens stands in its rollout, what came of it in its report."""

    service = models.ForeignKey(Service, models.PROTECT, related_name="drills")
    rollout = models.OneToOneField(Rollout, models.PROTECT, related_name="drill")
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
