"""How cost is shared: which method from when, and what a token of each release weighs."""

from django.db import models
from django.db.models import Q


class CostMethod(models.Model):
    """A method of sharing GPU time, from an hour on. Never changed: a later choice follows it."""

    method = models.CharField(max_length=32)
    starts_at = models.DateTimeField()
    why = models.TextField()
    chosen_at = models.DateTimeField()
    chosen_by = models.CharField(max_length=254)

    class Meta:
        db_table = "cost_method"
        indexes = [models.Index(fields=["starts_at", "id"], name="cost_method_time")]

    def __str__(self) -> str:
        return f"{self.method} from {self.starts_at:%Y-%m-%dT%H}"


class WorkWeight(models.Model):
    """What a token of one release weighs in nanoseconds of engine time, from an hour on.

    Fitted to samples of requests, which `samples_sha` names. `usable` is false where they were too
    few or strayed too far (`why` says so): the release's engine time counts in their place.
    """

    release = models.CharField(max_length=32)
    number = models.PositiveIntegerField()
    starts_at = models.DateTimeField()
    prefill_ns = models.BigIntegerField()  # a prompt token that was not cached
    decode_ns = models.BigIntegerField()
    fit = models.DecimalField(max_digits=7, decimal_places=4)  # 1: explains all that varies
    samples = models.IntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    samples_sha = models.CharField(max_length=64)
    usable = models.BooleanField()
    why = models.TextField(blank=True)
    made_at = models.DateTimeField()

    class Meta:
        db_table = "work_weight"
        constraints = [
            models.UniqueConstraint(fields=["release", "number"], name="work_weight_number"),
            models.CheckConstraint(
                condition=Q(prefill_ns__gte=0, decode_ns__gte=0), name="work_weight_not_negative"
            ),
        ]
        indexes = [models.Index(fields=["starts_at"], name="work_weight_time")]

    def __str__(self) -> str:
        return f"{self.release} v{self.number}"
