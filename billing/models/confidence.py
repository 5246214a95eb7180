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
