from django.db import models
from django.db.models import Q

from tenants.base.rows import Claimable, Versioned


class Cluster(Versioned, Claimable):
    """A Kubernetes that services may be placed in.

    People write name, region, credential; the observer, which holds the claim, writes the rest.
    """

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    region = models.CharField(max_length=64)
    namespace = models.CharField(max_length=63, default="models")
    in_cluster = models.BooleanField(default=False)  # use the pod's own account
    credential = models.BinaryField(default=bytes)  # kubeconfig, encrypted
    hosted = models.BooleanField(default=False)
    # Of a hosted one: as its bills and prices name it. Empty: as the cluster is called (slug).
    provider = models.CharField(max_length=63, default="", db_default="", blank=True)
    confidential = models.BooleanField(default=False)
    server = models.CharField(max_length=200, blank=True)

    observed_at = models.DateTimeField(null=True)  # last complete observation
    gpus_seen_at = models.DateTimeField(null=True)  # until when its GPU intervals are known
    gpus_seen = models.CharField(
        max_length=64, blank=True, db_default=""
    )  # digest of the last look
    observed_version = models.CharField(max_length=40, blank=True)
    applied_version = models.PositiveIntegerField(null=True)  # of our row, at that observation
    trouble = models.TextField(blank=True)  # why the last observation failed
    permissions = models.JSONField(default=list)  # [{verb, resource, namespace, allowed, why}]
    # What limits a plan besides nodes; null: the account may not read it.
    quotas = models.JSONField(null=True)  # [{name, hard, used}] of GPUs, of the namespace
    budgets = models.JSONField(null=True)  # [{name, labels, floor}] of disruption
    kueue = models.JSONField(null=True)  # rules.kueue.SeenKueue; null: the cluster has none
    # Version of LeaderWorkerSet that its engines over several nodes are made with; empty: without.
    group_sets = models.CharField(max_length=16, default="", db_default="", blank=True)
    # Where pods find weights of a hub: rules.weights. Empty: nowhere but in their image.
    weights_cache = models.CharField(max_length=253, default="", db_default="", blank=True)
    # Secret of the namespace with the hub's token (key: token); empty: it is asked without.
    weights_secret = models.CharField(max_length=253, default="", db_default="", blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "cluster"

    def __str__(self) -> str:
        return self.slug


class Node(models.Model):
    """A node as it was seen. `gpus_used`: requests of pods bound to it that have not ended."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="nodes")
    name = models.CharField(max_length=253)
    gpu_product = models.CharField(max_length=120, blank=True)
    gpus_allocatable = models.PositiveIntegerField(default=0)
    gpus_used = models.PositiveIntegerField(default=0)
    clique = models.CharField(max_length=120, blank=True)
    zone = models.CharField(max_length=64, blank=True)
    ready = models.BooleanField(default=False)
    cordoned = models.BooleanField(default=False)
    taints = models.JSONField(default=list)
    trouble = models.TextField(blank=True)
    changed_at = models.DateTimeField()  # since when ready or not
    observed_at = models.DateTimeField()  # as it is since then; its cluster's tells the age

    class Meta:
        db_table = "node"
        constraints = [models.UniqueConstraint(fields=["cluster", "name"], name="node_name")]

    def __str__(self) -> str:
        return self.name


class NodeDrift(models.Model):
    """A label or a taint of a node that was changed, until it is as before or a person accepts it.

    Nodes are not ours to write: what was seen before is what is expected.
    """

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="node_drifts")
    node = models.CharField(max_length=253)
    kind = models.CharField(max_length=8)  # label, taint
    name = models.CharField(max_length=330)  # a label's key; KEY:EFFECT of a taint
    expected = models.JSONField(null=True)  # null: it was not there
    live = models.JSONField(null=True)  # null: it is not there
    manager = models.CharField(max_length=128, blank=True)  # as the cluster names who wrote it
    operation = models.CharField(max_length=32, blank=True)
    written_at = models.DateTimeField(null=True)
    found_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    accepted_by = models.CharField(max_length=254, blank=True)  # empty: it went back by itself
    accepted_why = models.TextField(blank=True)

    class Meta:
        db_table = "node_drift"
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "node", "kind", "name"],
                condition=Q(ended_at=None),
                name="node_drift_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.node} {self.kind} {self.name}"


# Of observed pods, as `SeenPod.takes_traffic` says it of one.
TAKES_TRAFFIC = Q(ready=True, admitted=True, terminating=False) & ~Q(address="")


class ObservedPod(models.Model):
    """An engine's pod as it was seen. `admitted` is ours: set after the replica was verified."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="pods")
    deployment = models.ForeignKey(
        "fleet.Deployment", models.SET_NULL, null=True, related_name="pods"
    )
    uid = models.CharField(max_length=36, unique=True)
    name = models.CharField(max_length=253)
    release = models.CharField(max_length=20, blank=True)  # fingerprint from its label
    # prefill, decode: from its label
    role = models.CharField(max_length=16, default="serve", db_default="serve")
    node = models.CharField(max_length=253, blank=True)
    address = models.CharField(max_length=64, blank=True)
    phase = models.CharField(max_length=16, blank=True)
    ready = models.BooleanField(default=False)  # containers ready
    admitted = models.BooleanField(default=False)
    terminating = models.BooleanField(default=False)
    restarts = models.PositiveIntegerField(default=0)
    gpus = models.PositiveIntegerField(default=0)
    reason = models.CharField(max_length=120, blank=True)  # CrashLoopBackOff, Unschedulable ...
    message = models.TextField(blank=True)
    last_log = models.TextField(blank=True)  # tail of a container that failed
    image_id = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True)
    probed_at = models.DateTimeField(null=True)  # last one-token probe
    probe = models.CharField(max_length=200, blank=True)  # its answer in words
    probe_passes = models.PositiveIntegerField(default=0)  # in a row
    probe_failures = models.PositiveIntegerField(default=0)  # in a row
    observed_at = models.DateTimeField()  # as it is since then

    class Meta:
        db_table = "observed_pod"
        indexes = [models.Index(fields=["cluster", "release"], name="observed_pod_release")]

    def __str__(self) -> str:
        return self.name


class ObservedEvent(models.Model):
    """A Kubernetes event about our objects, kept longer than the cluster keeps it."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="events")
    uid = models.CharField(max_length=36)
    at = models.DateTimeField()
    kind = models.CharField(max_length=32)
    name = models.CharField(max_length=253)
    reason = models.CharField(max_length=120)
    message = models.TextField()
    warning = models.BooleanField(default=False)
    count = models.PositiveIntegerField(default=1)

    class Meta:
        db_table = "observed_event"
        constraints = [models.UniqueConstraint(fields=["cluster", "uid"], name="event_uid")]
        indexes = [models.Index(fields=["cluster", "name", "-at"], name="observed_event_name")]

    def __str__(self) -> str:
        return f"{self.reason} {self.name}"


class GpuTime(models.Model):
    """GPU-milliseconds of one hour by what the GPUs did, as they were counted before there were
    intervals. Still read for the hours that have them.
    """

    class State(models.TextChoices):
        SERVING = "serving"  # held by an admitted pod
        LOADING = "loading"  # held by a pod that is not admitted yet
        DRAINING = "draining"  # held by a pod that is going away
        FREE = "free"
        OUT = "out"  # node not ready or cordoned

    hour = models.DateTimeField()
    cluster = models.ForeignKey(Cluster, models.PROTECT)
    gpu_product = models.CharField(max_length=120)
    state = models.CharField(max_length=8, choices=State.choices)
    service = models.ForeignKey("fleet.Service", models.PROTECT, null=True)
    gpu_ms = models.BigIntegerField(default=0)

    class Meta:
        db_table = "gpu_time"
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "cluster", "gpu_product", "state", "service"],
                name="gpu_time_once",
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return f"{self.hour} {self.gpu_product} {self.state}"


class GpuUnit(models.Model):
    """A GPU of a node, or a part of one, by a number of ours: what an interval is of."""

    cluster = models.ForeignKey(Cluster, models.PROTECT)
    node = models.CharField(max_length=253)
    profile = models.CharField(max_length=32, blank=True)  # empty: a whole GPU
    slot = models.PositiveIntegerField()

    class Meta:
        db_table = "gpu_unit"
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "node", "profile", "slot"], name="gpu_unit_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.node} {self.profile} {self.slot}".replace("  ", " ")


class GpuInterval(models.Model):
    """What one unit did, from when until when; what cost attribution starts from.

    Those of a unit never overlap: a constraint of the table. Without an end it goes on until its
    cluster's `gpus_seen_at`. `parts` of `whole` is what it is of a GPU.
    """

    unit = models.ForeignKey(GpuUnit, models.PROTECT)
    product = models.CharField(max_length=120)
    parts = models.PositiveIntegerField(default=1)
    whole = models.PositiveIntegerField(default=1)
    node_pool = models.CharField(max_length=63, blank=True)
    capacity = models.CharField(max_length=12)  # rules.node_capacity
    state = models.CharField(max_length=8, choices=GpuTime.State.choices)
    service = models.ForeignKey("fleet.Service", models.PROTECT, null=True)
    holder = models.CharField(max_length=36, blank=True)  # uid of a pod; of whom, if not ours
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "gpu_interval"
        constraints = [
            models.CheckConstraint(
                condition=Q(parts__gt=0, whole__gt=0), name="gpu_interval_is_a_fraction"
            ),
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(ends_at__gt=models.F("starts_at")),
                name="gpu_interval_takes_time",
            ),
        ]
        indexes = [
            models.Index(fields=["unit"], condition=Q(ends_at=None), name="gpu_interval_open"),
        ]

    def __str__(self) -> str:
        return f"{self.state} from {self.starts_at}"
