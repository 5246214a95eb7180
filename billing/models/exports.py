"""Exports: who asked for which figures, and the files that were made, with their evidence."""

from django.db import models
from django.db.models.functions import Now

from billing.rules import datasets
from billing.rules.schedules import Plan, Rhythm
from tenants.base.rows import Claimable, Versioned

FORMATS = [(f, f) for f in datasets.FORMATS]
FILE_TYPES = [(t, t) for t in ("csv", "parquet", "xlsx")]
RHYTHMS = [(r.value, r.value) for r in Rhythm]


class ExportSchedule(Versioned):
    """An export each day, week or month. `tenant_id` null: the whole fleet."""

    tenant_id = models.BigIntegerField(null=True)
    name = models.CharField(max_length=120)
    format = models.CharField(max_length=32, choices=FORMATS)
    file_type = models.CharField(max_length=8, choices=FILE_TYPES, default="csv")
    time_zone = models.CharField(max_length=64, default="UTC")
    local_time = models.TimeField()
    rhythm = models.CharField(max_length=8, choices=RHYTHMS, default="daily", db_default="daily")
    # Of the week, 1 is Monday, or of the month.
    day = models.PositiveSmallIntegerField(default=1, db_default=1)
    # What was due until then is made, or was never asked for.
    made_until = models.DateTimeField(db_default=Now())
    enabled = models.BooleanField(default=True)
    next_at = models.DateTimeField(db_index=True)
    created_by = models.CharField(max_length=254)
    destination = models.ForeignKey(  # null: the folder alone
        "billing.ExportDestination", models.PROTECT, null=True, db_index=False, related_name="+"
    )

    class Meta:
        db_table = "export_schedule"

    def __str__(self) -> str:
        return self.name

    @property
    def plan(self) -> Plan:
        return Plan(self.local_time, self.time_zone, self.rhythm, self.day)


class ExportJob(Claimable):
    """One export: frozen inputs, then a state that only the worker writes."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DONE = "done"
        FAILED = "failed"

    schedule = models.ForeignKey(ExportSchedule, models.SET_NULL, null=True)
    due_at = models.DateTimeField(null=True)  # of a scheduled one
    tenant_id = models.BigIntegerField(null=True)
    format = models.CharField(max_length=32, choices=FORMATS)
    file_type = models.CharField(max_length=8, choices=FILE_TYPES, default="csv")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    destination = models.ForeignKey(  # null: the folder alone
        "billing.ExportDestination", models.PROTECT, null=True, db_index=False, related_name="+"
    )
    requested_by = models.CharField(max_length=254)
    requested_at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING.value)
    why = models.TextField(blank=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "export_job"
        constraints = [
            # A second metronome cannot make the same scheduled export twice.
            models.UniqueConstraint(fields=["schedule", "due_at"], name="export_job_due_once")
        ]
        indexes = [models.Index(fields=["tenant_id", "-id"], name="export_job_tenant")]

    def __str__(self) -> str:
        return f"{self.format} {self.starts_at:%Y-%m-%d}"


class ExportArtifact(models.Model):
    """The evidence of a finished export: what is in the file, as of when. Never changed."""

    job = models.OneToOneField(ExportJob, models.PROTECT, related_name="artifact")
    tenant_id = models.BigIntegerField(null=True)
    filename = models.CharField(max_length=200)
    path = models.CharField(max_length=400)  # below the folder of exports
    rows = models.BigIntegerField()
    bytes = models.BigIntegerField()
    sums = models.JSONField()  # currency -> exact sum of BilledCost, as text
    sha256 = models.CharField(max_length=64)
    watermark = models.BigIntegerField()  # newest charge in the snapshot
    complete_until = models.DateTimeField()  # usage before this is rated
    manifest = models.JSONField(default=dict)  # as it lies beside the file
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "export_artifact"

    def __str__(self) -> str:
        return self.filename


class LedgerAccount(Versioned):
    """The number that the books of the house have for an account of the journal."""

    account = models.CharField(max_length=20, unique=True)
    number = models.CharField(max_length=32)
    name = models.CharField(max_length=120, blank=True)

    class Meta:
        db_table = "ledger_account"

    def __str__(self) -> str:
        return self.account
