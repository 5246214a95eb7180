"""Where exports are delivered to, each delivery, and each try of it."""

from django.db import models
from django.db.models.functions import Now

from billing.models.receivers import Receiver
from billing.rules import destinations
from billing.rules.destinations import Target
from tenants.base.rows import Claimable

METHODS = [(m, m) for m in destinations.METHODS]


class ExportDestination(Receiver):
    """A receiver of files over HTTPS, or a bucket. `tenant_id` null: the operator's own."""

    tenant_id = models.BigIntegerField(null=True)
    name = models.CharField(max_length=120)
    url = models.CharField(max_length=2_000)
    method = models.CharField(max_length=4, choices=METHODS, default="POST")
    region = models.CharField(max_length=32, blank=True, default="")  # of a bucket
    access_key = models.CharField(max_length=128, blank=True, default="")  # of a bucket
    sealed = models.BinaryField()  # the signing secret, encrypted
    created_by = models.CharField(max_length=254)

    class Meta:
        db_table = "export_destination"

    def __str__(self) -> str:
        return self.name

    @property
    def target(self) -> Target:
        return Target(self.name, self.url, self.method, self.region, self.access_key)


class ExportDelivery(Claimable):
    """One file on its way to one receiver. Its id is in the keys by which that knows a repeat."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    tenant_id = models.BigIntegerField(null=True)
    job = models.ForeignKey("billing.ExportJob", models.PROTECT, related_name="deliveries")
    destination = models.ForeignKey(
        ExportDestination, models.PROTECT, db_index=False, related_name="+"
    )
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING.value)
    why = models.TextField(blank=True)  # of the last try that was not taken
    requested_by = models.CharField(max_length=254)
    requested_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "export_delivery"
        constraints = [
            # Two people who press at once send the file once.
            models.UniqueConstraint(
                fields=["job", "destination"],
                name="export_delivery_under_way",
                condition=models.Q(state="waiting"),
            )
        ]

    def __str__(self) -> str:
        return f"export {self.job_id} to {self.destination_id}"


class ExportAttempt(models.Model):
    """One message to the receiver and its answer. Never changed."""

    tenant_id = models.BigIntegerField(null=True)
    delivery = models.ForeignKey(ExportDelivery, models.PROTECT, related_name="attempts")
    part = models.CharField(max_length=8)  # file, manifest
    # Where to: whoever moves has not what was sent to the old address. Empty: not kept then.
    url = models.CharField(max_length=2_000, blank=True, default="", db_default="")
    at = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True)  # null: nobody answered
    why = models.TextField(blank=True)  # empty: taken

    class Meta:
        db_table = "export_attempt"

    def __str__(self) -> str:
        return f"{self.part} {self.status}"
