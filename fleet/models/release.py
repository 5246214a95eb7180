from django.conf import settings
from django.db import models

from fleet.models.resolution import Resolution


class ModelVersion(models.Model):
    """Weights, tokenizer and code, each pinned by a commit or a digest. Never changed."""

    name = models.CharField(max_length=200)  # repository, "org/model"
    commit = models.CharField(max_length=71)  # 40 hex, or sha256:64 hex of an artifact
    tokenizer_commit = models.CharField(max_length=71, blank=True)  # empty: as the weights
    code_commit = models.CharField(max_length=71, blank=True)
    chat_template_digest = models.CharField(max_length=71, blank=True)
    licence = models.CharField(max_length=64, blank=True)
    label = models.CharField(max_length=120, blank=True)  # the tag or branch that meant it then
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "model_version"
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "name",
                    "commit",
                    "tokenizer_commit",
                    "code_commit",
                    "chat_template_digest",
                ],
                name="model_version_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name}@{self.commit[:12]}"


class Release(models.Model):
    """One immutable pinned object: what is rolled out. Append-only in the database."""

    service = models.ForeignKey("fleet.Service", models.PROTECT, related_name="releases")
    number = models.PositiveIntegerField()  # r1, r2 ... within the service
    model_version = models.ForeignKey(ModelVersion, models.PROTECT)
    image = models.CharField(max_length=300)  # repository without tag
    image_digest = models.CharField(max_length=71)  # sha256:...
    image_tag = models.CharField(max_length=128, blank=True)  # for people; never pulled
    arguments = models.JSONField(default=list)  # ["--max-model-len=2048", ...]
    environment = models.JSONField(default=dict)
    # files, secrets, adapters, data policy: fleet.rules.pins
    pins = models.JSONField(default=dict, db_default={})
    resources = models.JSONField(default=dict)  # {gpu_product, gpus, cpu, memory}
    probes = models.JSONField(default=dict)  # {startup_seconds, drain_seconds, ...}
    # [{name, replicas, arguments, resources}]; see groups
    roles = models.JSONField(default=list, db_default=[])
    digest = models.CharField(max_length=64)  # SHA-256 of all of the above, canonical
    # Where a tag or branch was resolved here; null: the digest was given by hand.
    image_resolution = models.ForeignKey(
        Resolution, models.PROTECT, null=True, related_name="releases_of_image"
    )
    model_resolution = models.ForeignKey(
        Resolution, models.PROTECT, null=True, related_name="releases_of_model"
    )
    note = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "release"
        constraints = [
            models.UniqueConstraint(fields=["service", "number"], name="release_number"),
            models.UniqueConstraint(fields=["service", "digest"], name="release_digest"),
        ]

    def __str__(self) -> str:
        return f"r{self.number}"

    @property
    def fingerprint(self) -> str:
        return f"rel-{self.digest[:12]}"
