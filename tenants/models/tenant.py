from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from gateway.contract.outcomes import TrafficClass
from tenants.base.rows import Versioned

CLASSES = [(c.value, c.value) for c in TrafficClass]


class Tenant(Versioned):
    """The boundary of isolation and of billing."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    traffic_class = models.CharField(
        max_length=12, choices=CLASSES, default=TrafficClass.INTERACTIVE.value
    )  # ceiling for all its credentials
    currency = models.CharField(max_length=3, default="USD")
    time_zone = models.CharField(max_length=64, default="UTC")
    residency = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    hosted_fallback = models.BooleanField(default=False)
    confidential_only = models.BooleanField(default=False)
    salt_epoch = models.PositiveIntegerField(default=1)
    suspended_at = models.DateTimeField(null=True, blank=True)
    demo = models.BooleanField(default=False)

    class Meta:
        db_table = "tenant"

    def __str__(self) -> str:
        return self.slug

    @property
    def data_policy(self) -> str:
        """Where its requests may run: "confidential only, eu-west only, hosted fallback"."""
        parts = ["confidential only"] if self.confidential_only else []
        if self.residency:
            parts.append(f"{', '.join(self.residency)} only")
        elif not self.confidential_only:
            parts.append("any region")
        return ", ".join([*parts, "hosted fallback"] if self.hosted_fallback else parts)


class Application(Versioned):
    """A tenant's program or project: the cost centre. API keys belong to it."""

    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="applications")
    slug = models.SlugField(max_length=63)
    name = models.CharField(max_length=120)
    cost_centre = models.CharField(max_length=64, blank=True)

    class Meta:
        db_table = "application"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "slug"], name="application_slug"),
            # The target of composite foreign keys: a row cannot point into another tenant.
            models.UniqueConstraint(fields=["tenant", "id"], name="application_tenant_id"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id}/{self.slug}"


class ApiKey(models.Model):
    """An application's credential at the gateway. Only its digest is kept."""

    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="api_keys")
    application = models.ForeignKey(Application, models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=120)
    public_id = models.CharField(max_length=8, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=32), default=list)
    served_models = ArrayField(models.CharField(max_length=128), null=True, blank=True)
    traffic_class = models.CharField(max_length=12, choices=CLASSES)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "api_key"
        indexes = [
            # For the policy publisher, which reads the live keys only.
            models.Index(fields=["tenant"], name="api_key_live", condition=Q(revoked_at=None))
        ]

    def __str__(self) -> str:
        return f"qmk_{self.public_id}"
