"""Tenants as pages show them, made by the same actions that people use."""

from datetime import timedelta
from types import SimpleNamespace

from django.utils import timezone

from tenants.actions import applications, keys, people, quotas, tenants, tokens
from tenants.models import AuditEvent, Tenant, User
from tenants.queries.access import viewer_of_user
from tenants.rules.keys import Wish
from tenants.rules.quotas import Limits


def furnish(operator: User, tenant: Tenant) -> SimpleNamespace:
    """Give `tenant` applications, keys, models, quotas and people. Call it in `fleet_scope`."""
    viewer, slug = viewer_of_user(operator), tenant.slug
    fields = tenants.TenantFields(
        name="Acme Corporation", residency=["eu-west"], time_zone="Europe/Amsterdam"
    )
    tenants.change_tenant(viewer, slug, fields=fields, why="Contract 2026-114")
    for model in ("chat-large", "embed-small"):
        tenants.grant_model(viewer, slug, model, why="Contract 2026-114")
    for name, title, cost in (("support-bot", "Support bot", "CC-4711"), ("research", "R", "")):
        applications.create_application(viewer, slug, slug=name, name=title, cost_centre=cost)
    soon = timezone.now() + timedelta(days=5)
    both = ("inference", "models")
    key, _ = keys.create_key(
        viewer, slug, "support-bot", wish=Wish("production", both, None, "interactive", None)
    )
    keys.create_key(
        viewer, slug, "research", wish=Wish("notebook", both, ("chat-large",), "batch", soon)
    )
    gone, _ = keys.create_key(
        viewer, slug, "research", wish=Wish("old laptop", both, None, "batch", None)
    )
    keys.revoke_key(viewer, slug, gone.public_id, why="Laptop lost")
    whole = quotas.Target(slug)
    quotas.set_quota(viewer, whole, limits=Limits(requests_per_minute=600, monthly_budget=2000))
    quota = quotas.set_quota(
        viewer,
        whole,
        limits=Limits(requests_per_minute=1200, concurrency=64, monthly_budget=2500),
        why="Launch of the new bot",
    )
    on_model = quotas.Target(slug, "support-bot", "chat-large")
    quotas.set_quota(viewer, on_model, limits=Limits(tokens_per_minute=250_000))
    person, _ = people.invite_person(
        viewer, email="adam@acme.example", name="Adam", role="operator", tenant=slug
    )
    tokens.create_source(viewer, name="gateway-1")
    tokens.create_token(viewer, name="nightly", permissions=["view"], lifetime=timedelta(days=90))
    event = AuditEvent.objects.filter(verb="quota.set").order_by("-id").first()
    return SimpleNamespace(tenant=tenant, key=key, quota=quota, person=person, event=event)
