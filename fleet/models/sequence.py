"""One model name in several clusters, and a release that goes through them one after the other."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from fleet.models.cluster import Cluster
from fleet.models.release import Release
from fleet.models.rollout import Rollout
from fleet.models.service import Service
from fleet.rules.phases import PlanKind
from fleet.rules.sequence import FINAL, Phase, StageState, Wish
from tenants.base.rows import Claimable


class Placement(models.Model):
    """`member` answers for `service` in another cluster. Gateways try members by position."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="placements")
    member = models.OneToOneField(Service, models.CASCADE, related_name="placement")
    position = models.PositiveSmallIntegerField()

    class Meta:
        db_table = "placement"
        constraints = [
            models.UniqueConstraint(fields=["service", "position"], name="placement_position"),
            models.CheckConstraint(condition=~Q(service=F("member")), name="placement_of_another"),
        ]

    def __str__(self) -> str:
        return f"{self.member} for {self.service}"


class RolloutSequence(Claimable):
    """A release on its way through the clusters of a service, as approved.

    People write `wish...`; the drive, holding the claim, writes the rest.
    """

    LONGEST_PARK = timedelta(minutes=5)  # it may be on a way back

    service = models.ForeignKey(Service, models.PROTECT, related_name="sequences")
    release = models.ForeignKey(Release, models.PROTECT, related_name="sequences")
    bake_seconds = models.PositiveIntegerField()
    plan_kind = models.CharField(
        max_length=16, blank=True, choices=[(k.value, k.value) for k in PlanKind]
    )  # empty: in each cluster the best one at its turn
    steps = models.JSONField(null=True)  # null: as usual
    soak_seconds = models.PositiveIntegerField(null=True)  # null: as usual
    # Of the gates, those that are not as usual: fleet.rules.gate_limits
    limits = models.JSONField(default=dict, db_default={})
    reason = models.TextField(blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True)
    change_id = models.BigIntegerField(null=True)  # tenants.ChangeRequest

    wish = models.CharField(
        max_length=10, choices=[(w.value, w.value) for w in Wish], default=Wish.RUN.value
    )
    wish_by = models.CharField(max_length=254, blank=True)
    wish_why = models.TextField(blank=True)
    wish_at = models.DateTimeField(null=True)

    phase = models.CharField(max_length=20, choices=[(p.value, p.value) for p in Phase])
    phase_since = models.DateTimeField()
    why = models.TextField()
    # `phase_since` of the stop that people were called for: fleet.actions.sequence_calls
    stop_told = models.DateTimeField(null=True)
    stuck_told = models.DateTimeField(null=True)  # when people were called as it does not get on
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "rollout_sequence"
        constraints = [
            models.UniqueConstraint(
                fields=["service"],
                condition=~Q(phase__in=sorted(p.value for p in FINAL)),
                name="rollout_sequence_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"SQ-{self.pk}"


class SequenceStage(models.Model):
    """One cluster of a sequence. People write `left_out_...`, the drive writes the rest."""

    sequence = models.ForeignKey(RolloutSequence, models.CASCADE, related_name="stages")
    number = models.PositiveSmallIntegerField()  # its turn, from 1
    service = models.ForeignKey(Service, models.PROTECT, related_name="stages")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="stages")
    release = models.ForeignKey(Release, models.PROTECT, related_name="stages")
    manifests = models.CharField(max_length=64, blank=True)  # digest of what was approved
    begins_from = models.DateTimeField(null=True)  # no earlier, as approved; null: at its turn

    state = models.CharField(max_length=12, choices=[(s.value, s.value) for s in StageState])
    since = models.DateTimeField()
    frozen = models.BooleanField(default=False)  # its cluster is lost
    why = models.TextField(blank=True)
    refused_since = models.DateTimeField(null=True)  # what it asks for, at each pass
    rollout = models.ForeignKey(Rollout, models.PROTECT, null=True, related_name="stages")
    back = models.ForeignKey(Rollout, models.PROTECT, null=True, related_name="stages_back")
    left_out_by = models.CharField(max_length=254, blank=True)
    left_out_why = models.TextField(blank=True)

    class Meta:
        db_table = "sequence_stage"
        constraints = [
            models.UniqueConstraint(fields=["sequence", "number"], name="sequence_stage_number"),
            models.UniqueConstraint(fields=["sequence", "service"], name="sequence_stage_service"),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} stage {self.number}"


class SequenceEvent(models.Model):
    """The timeline of a sequence: append-only."""

    sequence = models.ForeignKey(RolloutSequence, models.PROTECT, related_name="timeline")
    at = models.DateTimeField(auto_now_add=True)
    cluster = models.CharField(max_length=63, blank=True)  # empty: of the whole
    state = models.CharField(max_length=20)
    actor = models.CharField(max_length=254, blank=True)  # empty: the machine
    why = models.TextField()

    class Meta:
        db_table = "sequence_event"
        indexes = [models.Index(fields=["sequence", "id"], name="sequence_event_order")]

    def __str__(self) -> str:
        return f"{self.sequence_id} {self.state}: {self.why}"
