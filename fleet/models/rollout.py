from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q

from fleet.models.cluster import Cluster
from fleet.models.release import Release
from fleet.models.service import Service
from fleet.rules.phases import FINAL, Phase, PlanKind, Wish
from tenants.base.rows import Claimable


class Rollout(Claimable):
    """The durable move of a service from one release to another.

    People write `wish...` and `skip...`; the drive, holding the claim, writes the rest.
    The inputs (plan, steps, gates) are frozen at the proposal.
    """

    LONGEST_PARK = timedelta(minutes=5)  # it may be on a way back

    service = models.ForeignKey(Service, models.PROTECT, related_name="rollouts")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="rollouts")
    from_release = models.ForeignKey(
        Release, models.PROTECT, null=True, related_name="rollouts_from"
    )
    to_release = models.ForeignKey(Release, models.PROTECT, related_name="rollouts_to")
    plan_kind = models.CharField(max_length=16, choices=[(k.value, k.value) for k in PlanKind])
    plan = models.JSONField()  # fleet.rules.plan as it was when proposed
    steps = models.JSONField()  # [{percent, hold_seconds, min_samples}]
    replicas = models.PositiveIntegerField()
    reason = models.TextField(blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True)
    change_id = models.BigIntegerField(null=True)  # tenants.ChangeRequest
    step_change_id = models.BigIntegerField(null=True)  # of the step that asked last
    manifests = models.JSONField(default=list)  # as approved, what the drive applies
    manifest_digest = models.CharField(max_length=64, blank=True)
    is_rollback = models.BooleanField(default=False)  # to a release that succeeded: no approval
    supersedes = models.ForeignKey(
        "self", models.PROTECT, null=True, related_name="superseded_by"
    )  # aborted for this one
    waits = models.BooleanField(db_default=False)  # until the one that it supersedes has ended

    wish = models.CharField(
        max_length=8, choices=[(w.value, w.value) for w in Wish], default=Wish.RUN.value
    )
    wish_by = models.CharField(max_length=254, blank=True)
    wish_why = models.TextField(blank=True)
    wish_at = models.DateTimeField(null=True)
    skip_step = models.SmallIntegerField(null=True)  # a person took this step's gate upon himself
    skip_by = models.CharField(max_length=254, blank=True)

    phase = models.CharField(
        max_length=24, choices=[(p.value, p.value) for p in Phase], default=Phase.VALIDATING.value
    )
    step = models.PositiveSmallIntegerField(default=0)
    phase_since = models.DateTimeField()
    resume_phase = models.CharField(max_length=24, blank=True)  # where a pause came from
    memory = models.JSONField(default=dict)  # what the phase must remember between passes
    why = models.TextField(blank=True)  # one text for page, API, event and log
    cause = models.CharField(max_length=32, blank=True)  # closed list, of an abort
    # Since when every pass was hindered: the cluster is away, refuses it for now, or undoes it.
    hindered_since = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)  # first write to the cluster
    ended_at = models.DateTimeField(null=True)
    old_left_at = models.DateTimeField(null=True)  # since when no traffic goes to it any more;
    new_left_at = models.DateTimeField(null=True)  # null: it has some, or never had any
    closed_at = models.DateTimeField(null=True)  # after a way back: a person said what comes of it
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "rollout"
        constraints = [
            models.UniqueConstraint(
                fields=["service"],
                condition=~Q(phase__in=sorted(p.value for p in FINAL)) & Q(waits=False),
                name="rollout_one_open",
            ),
            models.UniqueConstraint(
                fields=["service"],
                condition=~Q(phase__in=sorted(p.value for p in FINAL)) & Q(waits=True),
                name="rollout_one_waiting",
            ),
        ]
        indexes = [models.Index(fields=["service", "-id"], name="rollout_service")]

    def __str__(self) -> str:
        return f"RO-{self.pk}"


class RolloutGpuTime(models.Model):
    """GPU-milliseconds of one hour on top of what served before the rollout; written by the
    observer while the rollout moves, whatever the GPUs did."""

    rollout = models.ForeignKey(Rollout, models.PROTECT, related_name="gpu_times")
    hour = models.DateTimeField()
    gpu_product = models.CharField(max_length=120)
    gpu_ms = models.BigIntegerField()

    class Meta:
        db_table = "rollout_gpu_time"
        constraints = [
            models.UniqueConstraint(
                fields=["rollout", "hour", "gpu_product"], name="rollout_gpu_time_once"
            )
        ]
        indexes = [models.Index(fields=["hour"], name="rollout_gpu_time_hour")]

    def __str__(self) -> str:
        return f"RO-{self.rollout_id} {self.hour:%Y-%m-%dT%H} {self.gpu_ms}"


class RolloutAnswer(models.Model):
    """Requests that ended on a release of a rollout from its first write on, by how they ended.

    Added to in the transaction that stores the usage rows, once per row really stored.
    """

    rollout = models.ForeignKey(Rollout, models.PROTECT, related_name="answers")
    tenant_id = models.BigIntegerField()
    release_id = models.BigIntegerField()
    leaving = models.BooleanField()  # ended after the release's weight had gone to 0
    outcome = models.CharField(max_length=10)
    reason = models.CharField(max_length=24, blank=True)  # gateway.contract Reason
    cut = models.BooleanField()  # it broke after its first token
    requests = models.BigIntegerField()
    last_began = models.DateTimeField()
    last_ended = models.DateTimeField()

    class Meta:
        db_table = "rollout_answer"
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "rollout", "tenant_id", "release_id", "leaving", "outcome", "reason", "cut",
                ],
                name="rollout_answer_once",
            )
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"RO-{self.rollout_id} {self.outcome} {self.requests}"


class RolloutEvent(models.Model):
    """The timeline of a rollout: append-only."""

    rollout = models.ForeignKey(Rollout, models.PROTECT, related_name="timeline")
    at = models.DateTimeField(auto_now_add=True)
    phase = models.CharField(max_length=24)
    step = models.PositiveSmallIntegerField(default=0)
    actor = models.CharField(max_length=254, blank=True)  # empty: the machine
    why = models.TextField()
    detail = models.JSONField(default=dict)

    class Meta:
        db_table = "rollout_event"
        indexes = [models.Index(fields=["rollout", "id"], name="rollout_event_order")]

    def __str__(self) -> str:
        return f"{self.rollout_id} {self.phase}: {self.why}"


class RolloutCall(models.Model):
    """A person is called: something stands still or went back by itself, or waits for a decision.

    Told again and again while it stays so, unless somebody has taken it on.
    """

    rollout = models.ForeignKey(Rollout, models.PROTECT, related_name="calls")
    kind = models.CharField(max_length=20)  # fleet.rules.calls.CallKind
    since = models.DateTimeField()
    called_at = models.DateTimeField(null=True)  # the last time
    times = models.PositiveIntegerField(default=0)
    acknowledged_by = models.CharField(max_length=254, blank=True)
    acknowledged_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)  # it is over

    class Meta:
        db_table = "rollout_call"
        constraints = [
            models.UniqueConstraint(
                fields=["rollout", "kind"],
                condition=Q(ended_at=None),
                name="rollout_call_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"RO-{self.rollout_id} {self.kind}"


class GateResult(models.Model):
    """One look of a gate at one step, with the samples that it saw."""

    rollout = models.ForeignKey(Rollout, models.PROTECT, related_name="gates")
    step = models.PositiveSmallIntegerField()
    at = models.DateTimeField(auto_now_add=True)
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    verdict = models.CharField(max_length=12)  # pass, fail, inconclusive, error
    checks = models.JSONField()  # fleet.rules.gates.Check, one each
    why = models.TextField()
    evidence = models.JSONField(default=dict)  # alpha, tests, look, few, shown, sources

    class Meta:
        db_table = "gate_result"
        indexes = [models.Index(fields=["rollout", "step", "id"], name="gate_result_order")]

    def __str__(self) -> str:
        return f"{self.rollout_id} step {self.step}: {self.verdict}"


class StartSample(models.Model):
    """How long one replica took from creation to admission: plans learn deadlines from these."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="starts")
    release = models.ForeignKey(Release, models.CASCADE, related_name="starts")
    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="starts")
    gpu_product = models.CharField(max_length=120, blank=True)  # of its node
    node = models.CharField(max_length=253, blank=True, db_default="")
    node_pool = models.CharField(max_length=63, blank=True, db_default="")  # as labels name it
    # fleet.rules.starts.Cache; empty: nobody could tell
    cache = models.CharField(max_length=4, blank=True, db_default="")
    pod_uid = models.CharField(max_length=36, unique=True)
    seconds = models.FloatField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "start_sample"
        indexes = [models.Index(fields=["service", "-id"], name="start_sample_service")]

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s"
