from django.db import models


class AuditEvent(models.Model):
    """Who did what, when, why, with the state before and after. Append-only in the database."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor_id = models.BigIntegerField(null=True)  # no foreign key: people leave, evidence stays
    actor = models.CharField(max_length=254)
    via = models.CharField(max_length=16)
    address = models.CharField(max_length=45, blank=True, default="", db_default="")  # from where
    credential = models.CharField(max_length=16, blank=True, default="", db_default="")  # its name
    verb = models.CharField(max_length=64)  # "tenant.create"
    target_kind = models.CharField(max_length=32)
    target_id = models.CharField(max_length=64)
    target_name = models.CharField(max_length=200)
    tenant_id = models.BigIntegerField(null=True)
    why = models.TextField(blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        db_table = "audit_event"
        indexes = [
            models.Index(fields=["target_kind", "target_id", "-id"], name="audit_target"),
            models.Index(fields=["tenant_id", "-id"], name="audit_tenant"),
            models.Index(fields=["actor_id", "-id"], name="audit_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.verb} {self.target_name}"
