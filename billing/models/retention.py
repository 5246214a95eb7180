"""What was there of requests that are dropped, written by the owner's function that drops them; and
the files that have them."""

from django.db import models
from django.db.models.functions import Now


class DroppedPart(models.Model):
    """A part of usage events that is gone: what it held, by which rule it went. Never changed.

    `sha256` is of the digests of its days, in the order of day and tenant, as bytes.
    """

    part = models.CharField(max_length=63, unique=True)
    starts_at = models.DateTimeField(null=True)  # the first part has no start
    ends_at = models.DateTimeField()
    requests = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    gpu_ms = models.BigIntegerField()  # of GPUs: time in an engine x its GPUs
    bytes = models.BigIntegerField()  # on disk, with indexes
    sha256 = models.CharField(max_length=64)
    rule = models.CharField(max_length=200)
    # Where its requests are, below QM_USAGE_ARCHIVE, and the digest of the file; empty: nowhere.
    file = models.CharField(max_length=200, default="", db_default="")
    file_sha256 = models.CharField(max_length=64, default="", db_default="")
    dropped_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "usage_part_dropped"

    def __str__(self) -> str:
        return self.part


class ArchivedPart(models.Model):
    """A try to write a part of usage events to a file. The newest one counts. Never changed.

    With an empty `why` the file was read back: it has these sums, and `content_sha256` is what its
    requests would make of `DroppedPart.sha256`. Else nothing is said of a file.
    """

    part = models.CharField(max_length=63)
    schema = models.CharField(max_length=64, default="", db_default="")
    file = models.CharField(max_length=200, default="", db_default="")  # below the folder
    requests = models.BigIntegerField(default=0, db_default=0)
    prompt_tokens = models.BigIntegerField(default=0, db_default=0)
    cached_tokens = models.BigIntegerField(default=0, db_default=0)
    completion_tokens = models.BigIntegerField(default=0, db_default=0)
    gpu_ms = models.BigIntegerField(default=0, db_default=0)
    bytes = models.BigIntegerField(default=0, db_default=0)
    sha256 = models.CharField(max_length=64, default="", db_default="")  # of the file
    content_sha256 = models.CharField(max_length=64, default="", db_default="")
    why = models.CharField(max_length=500, default="", db_default="")
    written_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "usage_part_archived"
        indexes = [models.Index(fields=["part", "-id"], name="usage_part_archived_newest")]

    def __str__(self) -> str:
        return self.file or self.part


class DroppedDay(models.Model):
    """Sums of a tenant's UTC day whose requests are gone. Never changed.

    `sha256` is of the digests of its requests, in the order of end and number, as bytes; that of
    a request is of the JSON array of what decides what it costs.
    """

    tenant_id = models.BigIntegerField()
    day = models.DateField()
    part = models.CharField(max_length=63)
    requests = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    gpu_ms = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        db_table = "usage_day_dropped"
        constraints = [
            models.UniqueConstraint(fields=["tenant_id", "day"], name="usage_day_dropped_key")
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.tenant_id}"


class DroppedEstimate(models.Model):
    """Tokens of an hour that a gateway had to estimate: how good a dropped hour is, stays known."""

    tenant_id = models.BigIntegerField()
    hour = models.DateTimeField()
    service_id = models.BigIntegerField()  # 0: none answered
    tokens = models.BigIntegerField()

    class Meta:
        db_table = "usage_estimate_dropped"
        indexes = [models.Index(fields=["hour"], name="usage_estimate_dropped_hour")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} {self.tenant_id}"
