from django.db import models

LONGEST_NAME = 128  # of a worker


class Snapshot(models.Model):
    """A published version of policy or routing: an immutable document that gateways apply."""

    kind = models.CharField(max_length=8)  # "policy" or "routing"
    version = models.BigIntegerField()
    digest = models.CharField(max_length=64)  # of the content without version and time
    document = models.BinaryField()  # JSON of gateway.contract
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "snapshot"
        constraints = [models.UniqueConstraint(fields=["kind", "version"], name="snapshot_version")]

    def __str__(self) -> str:
        return f"{self.kind} v{self.version}"


class RoutingReader(models.Model):
    """A gateway's worker that asked for routing here: what it had then, it applied."""

    worker = models.CharField(max_length=LONGEST_NAME, primary_key=True)
    version = models.BigIntegerField()
    asked_at = models.DateTimeField()

    class Meta:
        db_table = "routing_reader"

    def __str__(self) -> str:
        return f"{self.worker} v{self.version}"
