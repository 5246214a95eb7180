from django.contrib.postgres.fields import ArrayField
from django.db import models

from tenants.models.tenant import Tenant
from tenants.models.user import User
from tenants.rules.access import Role

ROLES = [(r.value, r.value) for r in Role]


class RoleBinding(models.Model):
    """A person's role in the fleet (no tenant) or in one tenant's slice."""

    user = models.ForeignKey(User, models.CASCADE, related_name="bindings")
    role = models.CharField(max_length=12, choices=ROLES)
    tenant = models.ForeignKey(Tenant, models.CASCADE, null=True, blank=True)

    class Meta:
        db_table = "role_binding"
        constraints = [
            models.UniqueConstraint(
                fields=["user", "role", "tenant"], name="role_binding_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} {self.tenant_id or 'fleet'}"


class AccessToken(models.Model):
    """A token for the REST API: a person's roles, narrowed to scopes, until it expires."""

    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=120)
    public_id = models.CharField(max_length=8, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    permissions = ArrayField(models.CharField(max_length=32))
    networks = ArrayField(models.CharField(max_length=43), default=list)  # empty: from anywhere
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "access_token"

    def __str__(self) -> str:
        return f"qmt_{self.public_id}"


class UsageSource(models.Model):
    """A gateway's credential at the ingest door. Event ids are unique within a source.

    A new secret leaves it the same source, so what it sends again is known.
    """

    name = models.SlugField(max_length=63, unique=True)
    public_id = models.CharField(max_length=8, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    # The secret before, and until when it is accepted beside the new one.
    previous_digest = models.CharField(max_length=64, blank=True, db_default="", default="")
    previous_until = models.DateTimeField(null=True, blank=True)
    # Ids of tenants that it may report for; empty: of all.
    tenant_ids = ArrayField(models.BigIntegerField(), default=list, db_default=[])

    class Meta:
        db_table = "usage_source"

    def __str__(self) -> str:
        return self.name


class ModelGrant(models.Model):
    """A tenant may call a served model name. Services live upstairs; the name binds them."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="grants")
    model = models.CharField(max_length=128)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "model_grant"
        constraints = [models.UniqueConstraint(fields=["tenant", "model"], name="model_grant_once")]

    def __str__(self) -> str:
        return f"{self.tenant_id} may call {self.model}"
