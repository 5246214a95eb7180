"""Addresses of the pages of tenants, identities, quotas and evidence; of one's own account."""

from collections.abc import Callable
from types import SimpleNamespace

PAGES: dict[str, Callable[[SimpleNamespace], str]] = {
    "tenants": lambda _: "/tenants/",
    "tenants_none": lambda _: "/tenants/?search=acme&traffic_class=critical",
    "tenant_new": lambda _: "/new/tenant/",
    "tenant": lambda _: "/tenants/acme/",
    "tenant_edit": lambda _: "/tenants/acme/edit/",
    "tenant_applications": lambda _: "/tenants/acme/applications/?show=all",
    "application_new": lambda _: "/tenants/acme/new/application/",
    "application_edit": lambda _: "/tenants/acme/applications/research/edit/",
    "key_new": lambda _: "/tenants/acme/applications/research/new/key/",
    "key_rotate": lambda s: f"/tenants/acme/keys/{s.furnished.key.public_id}/rotate/",
    "tenant_quotas": lambda _: "/tenants/acme/quotas/",
    "quota_new": lambda _: "/tenants/acme/new/quota/",
    "tenant_models": lambda _: "/tenants/acme/models/",
    "tenant_people": lambda _: "/tenants/acme/people/",
    "tenant_activity": lambda _: "/tenants/acme/activity/",
    "quotas": lambda _: "/quotas/",
    "quota": lambda s: f"/quotas/{s.furnished.quota.series}/",
    "people": lambda _: "/people/",
    "person_new": lambda _: "/new/person/",
    "person": lambda s: f"/people/{s.furnished.person.pk}/",
    "keys": lambda _: "/people/keys/?state=",
    "sources": lambda _: "/people/sources/",
    "tokens": lambda _: "/tokens/",
    "token_new": lambda _: "/new/token/",
    "my_activity": lambda _: "/me/activity/",
    "audit": lambda _: "/audit/",
    "audit_event": lambda s: f"/audit/{s.furnished.event.pk}/",
    "usersessions_list": lambda _: "/account/sessions/",
    "mfa_index": lambda _: "/account/2fa/",
    "account_change_password": lambda _: "/account/password/change/",
}
# POST only; the answer to GET is 405.
NO_PAGES: dict[str, str] = {"search": "JSON for the palette"}
