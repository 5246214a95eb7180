from django.conf import settings
from django.db import models


class Resolution(models.Model):
    """What a tag or a branch meant when a person asked: once, and kept. Append-only.

    A release keeps the digest and points here; nothing asks the registry again.
    """

    IMAGE, MODEL = "image", "model"

    kind = models.CharField(max_length=8, choices=[(IMAGE, "Image"), (MODEL, "Model")])
    name = models.CharField(max_length=300)  # repository with its registry, or org/model
    label = models.CharField(max_length=128, blank=True)  # the tag or branch that was asked for
    pinned = models.CharField(max_length=71)  # sha256:... or a 40-hex commit
    answer = models.JSONField(default=dict)  # of the registry: address, media type, sizes
    signature = models.JSONField(default=dict)  # {state, why, key, ...}; see fleet.rules.signature
    # What the signature was judged by, so that it can be judged again: fleet.actions.signatures
    evidence = models.JSONField(default=dict, db_default={})
    shape = models.JSONField(null=True)  # of a model: layers, heads, positions, bytes
    parts = models.JSONField(
        default=list, db_default=[]
    )  # of a model: tokenizer, code, chat template
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "resolution"
        indexes = [models.Index(fields=["kind", "name", "pinned", "-id"], name="resolution_found")]

    def __str__(self) -> str:
        return f"{self.name}:{self.label} is {self.pinned[:19]}"
