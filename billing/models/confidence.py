"""What gateways metered and what engines counted, by service and hour: the two sides compared."""

from django.db import models


class ServiceHour(models.Model):
    """Metered tokens of one hour of a service, all tenants together.

    Triggers of `usage_hour` keep it, so it agrees with those rows whoever writes them.
    """

    hour = models.DateTimeField()
    service_id = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()

    class Meta:
        db_table = "usage_service_hour"
        constraints = [
            models.UniqueConstraint(fields=["hour", "service_id"], name="usage_service_hour_key")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} service {self.service_id}"


class LimitedHour(models.Model):
    """Of an hour of a service, the tokens that sources of some tenants alone reported, by tenant.

    They are metered like all others; what they say of a service is the word of these tenants.
    """

    hour = models.DateTimeField()
    service_id = models.BigIntegerField()
    tenant_id = models.BigIntegerField()
    tokens = models.BigIntegerField()

    class Meta:
        db_table = "usage_limited_hour"
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "service_id", "tenant_id"], name="usage_limited_hour_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} service {self.service_id} tenant {self.tenant_id}"


class EngineHour(models.Model):
    """What a service's engines counted in one hour that is over, without our own probes.

    Kept because the samples behind it end after days, and a month is closed after weeks.
    """

    hour = models.DateTimeField()
    service_id = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    engines = models.IntegerField()

    class Meta:
        db_table = "engine_hour"
        constraints = [
            models.UniqueConstraint(fields=["hour", "service_id"], name="engine_hour_key")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} service {self.service_id}"


class GatewayHour(models.Model):
    """What a process of a gateway said of one hour: usage events it wrote, and how they waited."""

    hour = models.DateTimeField()
    worker = models.CharField(max_length=128)
    started = models.FloatField()  # seconds since the epoch: a restarted one counts from 0
    events = models.BigIntegerField()  # of requests that ended in this hour
    spool_events = models.BigIntegerField()  # most that waited, of all hours
    spool_oldest_seconds = models.FloatField()  # the longest wait

    class Meta:
        db_table = "gateway_hour"
        constraints = [
            models.UniqueConstraint(fields=["hour", "worker", "started"], name="gateway_hour_key")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} {self.worker}"


class Arrival(models.Model):
    """Events of one hour and one worker in one batch. Only inserted, then folded and deleted:
    batches beside each other never wait for one another here.
    """

    source_id = models.BigIntegerField()
    hour = models.DateTimeField()  # in which the requests ended
    worker = models.CharField(max_length=128)
    events = models.BigIntegerField()  # stored
    least_ms = models.BigIntegerField()  # from the end of a request to its arrival; below 0:
    most_ms = models.BigIntegerField()  # it ended in the future of this machine's clock
    arrived_at = models.DateTimeField()

    class Meta:
        db_table = "usage_arrival"

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} source {self.source_id}: {self.events}"


class SourceHour(models.Model):
    """Arrivals of one hour, source and worker, folded."""

    source_id = models.BigIntegerField()
    hour = models.DateTimeField()
    worker = models.CharField(max_length=128)
    events = models.BigIntegerField()
    least_ms = models.BigIntegerField()
    most_ms = models.BigIntegerField()
    arrived_at = models.DateTimeField()  # the last one

    class Meta:
        db_table = "usage_source_hour"
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "source_id", "worker"], name="usage_source_hour_key"
            )
        ]
        indexes = [models.Index(fields=["arrived_at"], name="usage_source_hour_arrived")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H} source {self.source_id}: {self.events}"
