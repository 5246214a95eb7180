"""Usage: what gateways reported, once each, and its sums by hour."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class UsageEvent(models.Model):
    """One request, as the gateway reported it. Quantities only. Never changed.

    No foreign keys: they would cost a lookup a row, and the ingest door checks tenant and
    application. Durations in milliseconds, `gpu_ms` is time in the engine, on `gpus` GPUs at once.

    The table has a part for each day of `event_time`: who asks gives a span, or reads all parts.
    Its key in the database is (event_time, id), which also serves the explorer of the fleet.
    """

    request_id = models.UUIDField()
    source_id = models.BigIntegerField()
    tenant_id = models.BigIntegerField()
    application_id = models.BigIntegerField()
    credential_id = models.BigIntegerField()
    model = models.CharField(max_length=128)  # as asked for
    service_id = models.BigIntegerField(null=True)
    deployment_id = models.BigIntegerField(null=True)
    release_id = models.BigIntegerField(null=True)
    release = models.CharField(max_length=32)
    cluster = models.CharField(max_length=63)
    pod = models.CharField(max_length=253)
    traffic_class = models.CharField(max_length=12)
    outcome = models.CharField(max_length=12)
    reason = models.CharField(max_length=64)
    modifiers = ArrayField(models.CharField(max_length=128))
    rerouted_from = models.CharField(max_length=128)
    stream = models.BooleanField()
    http_status = models.SmallIntegerField()
    finish_reason = models.CharField(max_length=32)
    usage_quality = models.CharField(max_length=12)
    prompt_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()  # part of prompt_tokens
    completion_tokens = models.BigIntegerField()
    started_at = models.DateTimeField()
    event_time = models.DateTimeField()  # when it ended: decides the hour it is billed in
    queue_ms = models.FloatField(null=True)
    ttft_ms = models.FloatField(null=True)
    itl_ms = models.FloatField(null=True)
    itl_p95_ms = models.FloatField(null=True)
    gpu_ms = models.BigIntegerField()
    worker = models.CharField(max_length=128)
    policy_version = models.BigIntegerField()
    routing_version = models.BigIntegerField()
    price_version = models.BigIntegerField()
    limit_versions = ArrayField(models.BigIntegerField())
    engine_id = models.CharField(max_length=128)
    demo = models.BooleanField()
    gpus = models.IntegerField(default=1, db_default=1)
    gpu_product = models.CharField(max_length=120, default="", db_default="")
    hosted = models.CharField(max_length=120, default="", db_default="")  # empty: own engines
    stored_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "usage_event"
        constraints = [
            models.CheckConstraint(
                condition=Q(cached_tokens__lte=F("prompt_tokens"), cached_tokens__gte=0),
                name="usage_event_cached_part_of_prompt",
            )
        ]
        indexes = [
            # The request explorer of a tenant, and the roll-up of its hour.
            models.Index(fields=["tenant_id", "-event_time", "-id"], name="usage_event_tenant"),
            # What did not simply work is rare, and it is what people look for.
            models.Index(
                fields=["outcome", "-event_time", "-id"],
                name="usage_event_trouble",
                condition=~Q(outcome="served"),
            ),
            models.Index(
                fields=["-event_time", "-id"],
                name="usage_event_trouble_time",
                condition=~Q(outcome="served"),
            ),
            models.Index(fields=["request_id"], name="usage_event_request"),
            # Rare, and what the confidence of an hour is judged from.
            models.Index(
                fields=["event_time"],
                name="usage_event_estimated",
                condition=Q(usage_quality="estimated"),
            ),
            BrinIndex(fields=["stored_at"], name="usage_event_stored"),
        ]

    def __str__(self) -> str:
        return str(self.request_id)


class UsageSeen(models.Model):
    """Every event id a source ever delivered: what makes a replay change nothing."""

    pk = models.CompositePrimaryKey("source_id", "event_id")
    source_id = models.BigIntegerField()
    event_id = models.UUIDField()
    payload_sha = models.BinaryField()
    seen_at = models.DateTimeField(db_default=Now())
    is_copy = models.BooleanField(default=False, db_default=False)  # a shadow's: it has no event

    class Meta:
        db_table = "usage_seen"

    def __str__(self) -> str:
        return f"{self.source_id}/{self.event_id}"


class UsageQuarantine(models.Model):
    """An event that could not be taken; a person decides. `tenant_id` only where it is known."""

    source_id = models.BigIntegerField()
    event_id = models.CharField(max_length=128)  # as given, may be anything
    reason = models.CharField(max_length=32)
    detail = models.TextField()
    tenant_id = models.BigIntegerField(null=True)
    payload = models.TextField()  # as sent, cut to 16 KiB
    payload_sha = models.BinaryField()  # of the whole of it
    ended_at = models.DateTimeField(null=True)  # as it says, where that can be read
    worker = models.CharField(max_length=128, blank=True, db_default="")
    received_at = models.DateTimeField(db_default=Now())
    decision_id = models.BigIntegerField(null=True)  # somebody asked; another person decides

    class Meta:
        db_table = "usage_quarantine"
        constraints = [
            models.UniqueConstraint(fields=["source_id", "payload_sha"], name="quarantined_once")
        ]
        indexes = [models.Index(fields=["-received_at"], name="usage_quarantine_time")]

    def __str__(self) -> str:
        return f"{self.event_id}: {self.reason}"


class HourMark(models.Model):
    """Something new came for this hour of this tenant. Only inserted and deleted.

    Writers beside each other never wait for one another here, and a mark that arrives while its
    hour is being rolled up has another id, so it stays for the next pass.
    """

    hour = models.DateTimeField()
    tenant_id = models.BigIntegerField()

    class Meta:
        db_table = "usage_hour_mark"

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} {self.tenant_id}"


class UsageHour(models.Model):
    """Sums of one hour, replaced as a whole by the roll-up. Key: what decides money and cost.

    There is no index by id, which only orders the rows of an hour in lists.
    """

    hour = models.DateTimeField()
    tenant_id = models.BigIntegerField()
    application_id = models.BigIntegerField()
    model = models.CharField(max_length=128)  # empty for names that no service has
    service_id = models.BigIntegerField(default=0)  # 0: none answered
    traffic_class = models.CharField(max_length=12)
    outcome = models.CharField(max_length=12)
    # Empty: no release answered, or the hour was rolled up before hours knew theirs.
    release = models.CharField(max_length=32, db_default="")
    # Whose engines answered, empty: the fleet's; and on which GPUs, empty: not known.
    hosted = models.CharField(max_length=120, db_default="")
    gpu_product = models.CharField(max_length=120, db_default="")
    requests = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    gpu_ms = models.BigIntegerField()  # of GPUs: time in an engine x its GPUs
    # Of these, before the hour began: charged in this hour, caused in the one before.
    before_ms = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "usage_hour"
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "tenant_id",
                    "hour",
                    "application_id",
                    "model",
                    "service_id",
                    "traffic_class",
                    "outcome",
                    "release",
                    "hosted",
                    "gpu_product",
                ],
                name="usage_hour_of_gpus",
            )
        ]
        indexes = [
            models.Index(fields=["hour", "tenant_id"], name="usage_hour_time"),
            # Rare, and what bills of providers are spread by.
            models.Index(fields=["hour"], name="usage_hour_hosted", condition=~Q(hosted="")),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} {self.tenant_id} {self.model}"


class UsageDay(models.Model):
    """Sums of a tenant's UTC day, replaced by the roll-up: what pages of the fleet read."""

    day = models.DateField()
    tenant_id = models.BigIntegerField()
    events = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()

    class Meta:
        db_table = "usage_day"
        constraints = [models.UniqueConstraint(fields=["tenant_id", "day"], name="usage_day_key")]
        indexes = [models.Index(fields=["day"], name="usage_day_time")]

    def __str__(self) -> str:
        return f"{self.day} {self.tenant_id}"


class ModelDay(models.Model):
    """Sums of a tenant's UTC day by model, kept by triggers on `usage_hour`; may be zero."""

    day = models.DateField()
    tenant_id = models.BigIntegerField()
    model = models.CharField(max_length=128)
    outcome = models.CharField(max_length=12)
    requests = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()

    class Meta:
        db_table = "usage_model_day"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "day", "model", "outcome"], name="usage_model_day_key"
            )
        ]
        indexes = [models.Index(fields=["day"], name="usage_model_day_time")]

    def __str__(self) -> str:
        return f"{self.day} {self.tenant_id} {self.model}"


class RatingMark(models.Model):
    """Some head of this hour is to be rated. Only inserted, by triggers on heads, and deleted.

    Taken away when no head of the hour waits any more: by then, what is written meanwhile has
    brought its own mark.
    """

    hour = models.DateTimeField()

    class Meta:
        db_table = "rating_mark"

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H}"


class HourHead(models.Model):
    """State of one hour of one tenant: how often it was rolled up, and which version was rated.

    The roll-up writes `version`, the sums and `rolled_at`; the rating writes the rest. There is no
    index by id, which nobody asks for.
    """

    hour = models.DateTimeField()
    tenant_id = models.BigIntegerField()
    version = models.IntegerField(default=1)
    events = models.BigIntegerField(default=0)
    prompt_tokens = models.BigIntegerField(db_default=0)
    completion_tokens = models.BigIntegerField(db_default=0)
    rolled_at = models.DateTimeField()
    rated_version = models.IntegerField(default=0)
    rated_at = models.DateTimeField(null=True)
    amount = models.DecimalField(max_digits=38, decimal_places=12, default=0)
    currency = models.CharField(max_length=3, default="")

    class Meta:
        db_table = "usage_hour_head"
        constraints = [
            models.UniqueConstraint(fields=["hour", "tenant_id"], name="usage_hour_head_key")
        ]
        # None on what changes, so that an update stays on its page and no index hears of it.
        indexes = [models.Index(fields=["tenant_id", "hour"], name="usage_hour_head_tenant")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} {self.tenant_id} v{self.version}"
