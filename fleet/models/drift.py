from django.db import models

from fleet.models.release import Release
from fleet.models.service import Deployment


class Drift(models.Model):
    """One field of a Deployment, or of what is beside it, that the cluster has otherwise than
    declared.

    The observer opens and ends rows; people write `wish...`; the drive does what they wish.
    """

    class Wish(models.TextChoices):
        REPAIR = "repair"  # the declared state again
        ADOPT = "adopt"  # what runs becomes declared; replicas only

    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="drifts")
    path = models.CharField(max_length=300)  # spec.template.spec.containers[vllm].args
    declared = models.JSONField(null=True)  # null: not declared
    live = models.JSONField(null=True)  # null: not there
    manager = models.CharField(max_length=128, blank=True)  # as the cluster names who wrote it
    operation = models.CharField(max_length=32, blank=True)
    written_at = models.DateTimeField(null=True)
    owned = models.BooleanField(default=False)  # by an autoscaler: shown, never fought
    found_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    wish = models.CharField(max_length=8, choices=Wish.choices, blank=True)
    wish_by = models.CharField(max_length=254, blank=True)
    wish_why = models.TextField(blank=True)
    trouble = models.TextField(blank=True)  # why the wish could not be done yet
    # The release that declares it, once somebody adopted it; it ends with that one's rollout.
    adopted_as = models.ForeignKey(Release, models.PROTECT, null=True, related_name="adopted")

    class Meta:
        db_table = "drift"
        constraints = [
            models.UniqueConstraint(
                fields=["deployment", "path"],
                condition=models.Q(ended_at=None),
                name="drift_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.deployment} {self.path}"
