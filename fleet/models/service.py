from django.contrib.postgres.fields import ArrayField
from django.db import models

from fleet.models.cluster import Cluster
from fleet.models.release import Release
from tenants.base.rows import Versioned


class Service(Versioned):
    """What tenants call by a served model name."""

    name = models.SlugField(max_length=63, unique=True)  # the served model name
    description = models.CharField(max_length=200, blank=True)
    cluster = models.ForeignKey(Cluster, models.PROTECT, null=True, related_name="services")
    replicas = models.PositiveIntegerField(default=1)
    objectives = models.JSONField(default=dict)  # class -> {ttft_ms, itl_ms, queue_ms}
    max_model_len = models.PositiveIntegerField(default=4096)
    default_max_tokens = models.PositiveIntegerField(default=256)
    max_queue = models.PositiveIntegerField(default=256)
    request_seconds = models.PositiveIntegerField(default=300)
    chunk_seconds = models.PositiveIntegerField(default=30)
    # How long a rollout waits for its image on nodes before it begins. 0: it begins at once.
    prefetch_seconds = models.PositiveIntegerField(default=900, db_default=900)
    fallbacks = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    demo = models.BooleanField(default=False)

    # Written by the rollout's drive when a rollout succeeds, and by nothing else.
    current_release = models.ForeignKey(
        Release, models.PROTECT, null=True, related_name="current_of"
    )

    class Meta:
        db_table = "service"

    def __str__(self) -> str:
        return self.name


class Deployment(models.Model):
    """A release placed in a cluster: what we want there. Written by the drive only."""

    service = models.ForeignKey(Service, models.PROTECT, related_name="deployments")
    release = models.ForeignKey(Release, models.PROTECT, related_name="deployments")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="deployments")
    name = models.CharField(max_length=63)  # of the Kubernetes object
    manifest = models.JSONField(default=dict)  # as approved; a newer renderer changes no pod
    replicas = models.PositiveIntegerField(default=0)
    weight = models.PositiveSmallIntegerField(default=0)  # percent of the service's traffic
    fence = models.BigIntegerField(default=0)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "deployment"
        constraints = [
            models.UniqueConstraint(
                fields=["service", "release", "cluster"], name="deployment_once"
            ),
            models.CheckConstraint(
                condition=models.Q(weight__lte=100), name="deployment_weight_percent"
            ),
        ]

    def __str__(self) -> str:
        return self.name
