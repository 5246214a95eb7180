from django.contrib.postgres.indexes import BrinIndex
from django.db import models

from fleet.models.service import Service

SLOT = ("seconds", "slot", "tenant_id", "service_id", "release_id", "traffic_class")
OF_APPLICATION = ("application_id", "adapter", "is_copy")


class SlotOfCounts(models.Model):
    """Requests of one slot of time by tenant, service, release, class, outcome and reason.

    Two resolutions: 10 s for gates (kept for hours), 300 s for dashboards (kept for months).
    """

    seconds = models.PositiveSmallIntegerField()
    slot = models.DateTimeField()
    tenant_id = models.BigIntegerField()
    service_id = models.BigIntegerField()
    release_id = models.BigIntegerField(default=0)  # 0: refused before a release was chosen
    traffic_class = models.CharField(max_length=12)
    outcome = models.CharField(max_length=10)
    reason = models.CharField(max_length=24, blank=True)  # gateway.contract Reason
    requests = models.BigIntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.slot} {self.outcome} {self.requests}"


class SlotOfLatency(models.Model):
    """A histogram as rows: samples of one metric whose value falls into one bucket.

    Bucket i holds values up to 1 ms x 1.1^i; see fleet.rules.histogram. Of finish reasons it is the
    number of one: a closed list.
    """

    seconds = models.PositiveSmallIntegerField()
    slot = models.DateTimeField()
    tenant_id = models.BigIntegerField()
    service_id = models.BigIntegerField()
    release_id = models.BigIntegerField(default=0)
    traffic_class = models.CharField(max_length=12)
    metric = models.CharField(max_length=8)  # fleet.rules.traffic METRICS
    bucket = models.SmallIntegerField()
    samples = models.BigIntegerField(default=0)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.slot} {self.metric} {self.bucket}: {self.samples}"


class TrafficSlot(SlotOfCounts):
    """Added to in the transaction that stores the usage rows, once per row really stored."""

    class Meta:
        db_table = "traffic_slot"
        constraints = [
            models.UniqueConstraint(fields=[*SLOT, "outcome", "reason"], name="traffic_slot_once")
        ]
        indexes = [
            models.Index(fields=["tenant_id", "seconds", "slot"], name="traffic_slot_tenant"),
            models.Index(fields=["service_id", "seconds", "slot"], name="traffic_slot_service"),
        ]


class LatencySlot(SlotOfLatency):
    class Meta:
        db_table = "latency_slot"
        constraints = [
            models.UniqueConstraint(fields=[*SLOT, "metric", "bucket"], name="latency_slot_once")
        ]
        indexes = [
            models.Index(fields=["tenant_id", "seconds", "slot"], name="latency_slot_tenant"),
            models.Index(fields=["service_id", "seconds", "slot"], name="latency_slot_service"),
        ]


class ShadowSlot(SlotOfCounts):
    """What shadows of rollouts answered to copies of requests. No client got these answers and
    nobody pays for them, so they are apart from what every other page counts.
    """

    class Meta:
        db_table = "shadow_slot"
        constraints = [
            models.UniqueConstraint(fields=[*SLOT, "outcome", "reason"], name="shadow_slot_once")
        ]
        indexes = [
            models.Index(fields=["service_id", "seconds", "slot"], name="shadow_slot_service"),
        ]


class ShadowLatencySlot(SlotOfLatency):
    class Meta:
        db_table = "shadow_latency_slot"
        constraints = [
            models.UniqueConstraint(
                fields=[*SLOT, "metric", "bucket"], name="shadow_latency_slot_once"
            )
        ]
        indexes = [
            models.Index(fields=["service_id", "seconds", "slot"], name="shadow_latency_service"),
        ]


class AdapterSlot(SlotOfCounts):
    """Requests for adapters, counted here beside all others: a gate leaves out those that only one
    of its releases can answer.
    """

    adapter = models.CharField(max_length=128)

    class Meta:
        db_table = "adapter_slot"
        constraints = [
            models.UniqueConstraint(
                fields=[*SLOT, "adapter", "outcome", "reason"], name="adapter_slot_once"
            )
        ]
        indexes = [
            models.Index(fields=["service_id", "seconds", "slot"], name="adapter_slot_service"),
        ]


class AdapterLatencySlot(SlotOfLatency):
    adapter = models.CharField(max_length=128)

    class Meta:
        db_table = "adapter_latency_slot"
        constraints = [
            models.UniqueConstraint(
                fields=[*SLOT, "adapter", "metric", "bucket"], name="adapter_latency_slot_once"
            )
        ]
        indexes = [
            models.Index(fields=["service_id", "seconds", "slot"], name="adapter_latency_service"),
        ]


class ApplicationSlot(SlotOfCounts):
    """Requests of applications that an open rollout names, counted here beside all others: its
    gates judge them alone. Only the fine slots, as gates alone read them.
    """

    application_id = models.BigIntegerField()
    adapter = models.CharField(max_length=128, blank=True)
    is_copy = models.BooleanField()  # a shadow answered it, as in shadow_slot

    class Meta:
        db_table = "application_slot"
        constraints = [
            models.UniqueConstraint(
                fields=[*SLOT, *OF_APPLICATION, "outcome", "reason"], name="application_slot_once"
            )
        ]
        indexes = [
            models.Index(fields=["service_id", "seconds", "slot"], name="application_slot_service"),
        ]


class ApplicationLatencySlot(SlotOfLatency):
    application_id = models.BigIntegerField()
    adapter = models.CharField(max_length=128, blank=True)
    is_copy = models.BooleanField()

    class Meta:
        db_table = "application_latency_slot"
        constraints = [
            models.UniqueConstraint(
                fields=[*SLOT, *OF_APPLICATION, "metric", "bucket"],
                name="application_latency_slot_once",
            )
        ]
        indexes = [
            models.Index(
                fields=["service_id", "seconds", "slot"], name="application_latency_service"
            ),
        ]


class AdapterUse(models.Model):
    """Requests for an adapter by tenant and day (UTC): who would miss it."""

    day = models.DateField()
    service_id = models.BigIntegerField()
    adapter = models.CharField(max_length=128)
    tenant_id = models.BigIntegerField()
    requests = models.BigIntegerField(default=0)

    class Meta:
        db_table = "adapter_use"
        constraints = [
            models.UniqueConstraint(
                fields=["service_id", "day", "adapter", "tenant_id"], name="adapter_use_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.adapter} {self.requests}"


class EngineSample(models.Model):
    """What an engine's /metrics said. Absent is null, never 0."""

    pod_uid = models.CharField(max_length=36)
    service = models.ForeignKey(Service, models.CASCADE)
    release_id = models.BigIntegerField()
    at = models.DateTimeField()
    running = models.FloatField(null=True)
    waiting = models.FloatField(null=True)
    kv_usage = models.FloatField(null=True)  # 0 to 1
    preemptions = models.BigIntegerField(null=True)  # counters since the engine's start
    prompt_tokens = models.BigIntegerField(null=True)
    generation_tokens = models.BigIntegerField(null=True)
    cached_tokens = models.BigIntegerField(null=True)
    steps = models.BigIntegerField(null=True)  # the heartbeat

    class Meta:
        db_table = "engine_sample"
        indexes = [
            models.Index(fields=["service", "-at"], name="engine_sample_service"),
            models.Index(fields=["pod_uid", "-at"], name="engine_sample_pod"),
            # An hour of the whole fleet, and what is old: rows come in the order of time.
            BrinIndex(fields=["at"], name="engine_sample_time"),
        ]

    def __str__(self) -> str:
        return f"{self.pod_uid} {self.at}"


class EngineProbe(models.Model):
    """One token asked of one engine by us. Its tokens are in the engine's counters, so they are
    kept apart from what tenants used.
    """

    pod_uid = models.CharField(max_length=36)
    service = models.ForeignKey(Service, models.CASCADE)
    at = models.DateTimeField()
    passed = models.BooleanField()
    milliseconds = models.FloatField()
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    told = models.CharField(max_length=200)

    class Meta:
        db_table = "engine_probe"
        indexes = [models.Index(fields=["service", "-at"], name="engine_probe_service")]

    def __str__(self) -> str:
        return f"{self.pod_uid} {self.told}"


class Finding(models.Model):
    """A tenant misses its objective: since when, and the likely cause with its evidence."""

    tenant_id = models.BigIntegerField()
    service = models.ForeignKey(Service, models.CASCADE)
    traffic_class = models.CharField(max_length=12)
    symptom = models.CharField(max_length=16)  # errors, shed, rejected, ttft, itl
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    cause = models.CharField(max_length=32)
    sentence = models.TextField()
    evidence = models.JSONField(default=list)  # [{label, value, href}]
    requests = models.BigIntegerField(default=0)
    affected = models.BigIntegerField(default=0)

    class Meta:
        db_table = "finding"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "service", "traffic_class", "symptom"],
                condition=models.Q(ended_at=None),
                name="finding_one_open",
            )
        ]
        indexes = [models.Index(fields=["tenant_id", "-started_at"], name="finding_tenant")]

    def __str__(self) -> str:
        return self.sentence
