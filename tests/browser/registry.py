"""Every page that a GET opens, and how to make its address from a scene."""

from collections.abc import Callable
from types import SimpleNamespace

from tests.browser import registry_money

Address = Callable[[SimpleNamespace], str]

PAGES: dict[str, Address] = {
    "overview": lambda _: "/",
    "services": lambda _: "/services/",
    "service": lambda s: f"/services/{s.services[1].name}/",
    "service_new": lambda _: "/new/service/",
    "service_edit": lambda s: f"/services/{s.services[1].name}/edit/",
    "service_contract": lambda s: f"/services/{s.services[0].name}/contract/",
    "service_contract_new": lambda s: f"/services/{s.services[1].name}/contract/",
    "service_scaling": lambda s: f"/services/{s.services[0].name}/scaling/",
    "service_scaling_edit": lambda s: f"/services/{s.services[1].name}/scaling/edit/",
    "releases": lambda _: "/releases/",
    "release": lambda s: f"/releases/{s.releases[1].pk}/",
    "release_new": lambda s: f"/new/release/?copy={s.releases[1].pk}",
    "release_diff": lambda s: (
        f"/releases/{s.releases[1].pk}/to/{s.rollouts['analyzing'].to_release_id}/"
    ),
    "rollouts": lambda _: "/rollouts/",
    "rollout": lambda s: f"/rollouts/{s.rollouts['analyzing'].pk}/",
    "rollout_failed": lambda s: f"/rollouts/{s.rollouts['rolled_back'].pk}/",
    "rollout_waiting": lambda s: f"/rollouts/{s.rollouts['waiting'].pk}/",
    "rollout_choose": lambda s: f"/new/rollout/?service={s.services[0].name}",
    "rollout_new": lambda s: f"/new/rollout/?release={s.spare.pk}",
    "sequence": lambda s: f"/sequences/{s.sequence.pk}/",
    "sequence_new": lambda s: f"/new/sequence/?service={s.placed.name}",
    "service_placements": lambda s: f"/services/{s.placed.name}/placements/",
    "drills": lambda _: "/drills/",
    "drill": lambda s: f"/drills/{s.drill.pk}/",
    "drill_new": lambda s: f"/new/drill/?service={s.services[0].name}",
    "drill_lost": lambda s: f"/drills/{s.lost.pk}/",
    "drill_pod_new": lambda s: f"/new/drill/pod/?service={s.services[0].name}",
    "drill_choose": lambda _: "/new/drill/",
    "freezes": lambda _: "/calendar/",
    "freeze_new": lambda _: "/new/freeze/",
    "clusters": lambda _: "/clusters/",
    "cluster": lambda s: f"/clusters/{s.cluster.slug}/",
    "cluster_credential": lambda s: f"/clusters/{s.cluster.slug}/credential/",
    "cluster_register": lambda _: "/new/cluster/",
    "nodes": lambda _: "/nodes/",
    "tenants": lambda _: "/tenants/",
    "tenant_new": lambda _: "/new/tenant/",
    "tenant": lambda _: "/tenants/acme/",
    "tenant_edit": lambda _: "/tenants/acme/edit/",
    "tenant_applications": lambda _: "/tenants/acme/applications/",
    "application_new": lambda _: "/tenants/acme/new/application/",
    "application_edit": lambda _: "/tenants/acme/applications/assistant/edit/",
    "key_new": lambda _: "/tenants/acme/applications/assistant/new/key/",
    "key_rotate": lambda s: f"/tenants/acme/keys/{s.key}/rotate/",
    "tenant_quotas": lambda _: "/tenants/acme/quotas/",
    "quota_new": lambda _: "/tenants/acme/new/quota/",
    "tenant_models": lambda _: "/tenants/acme/models/",
    "tenant_people": lambda _: "/tenants/acme/people/",
    "tenant_activity": lambda _: "/tenants/acme/activity/",
    "degradation": lambda _: "/degradation/",
    "tenant_degradation": lambda s: (
        f"/tenants/{s.tenants[1].slug}/degradation/?service={s.services[0].name}"
        "&class=interactive&from=now-6h&to=now"
    ),
    "quotas": lambda _: "/quotas/",
    "quota": lambda s: f"/quotas/{s.quota.series}/",
    "people": lambda _: "/people/",
    "person_new": lambda _: "/new/person/",
    "person": lambda s: f"/people/{s.vic.pk}/",
    "keys": lambda _: "/people/keys/",
    "sources": lambda _: "/people/sources/",
    "tokens": lambda _: "/tokens/",
    "token_new": lambda _: "/new/token/",
    "api_docs": lambda _: "/reference/api/",
    "my_activity": lambda _: "/me/activity/",
    "audit": lambda _: "/audit/",
    "audit_event": lambda s: f"/audit/{s.audit.pk}/",
    "account_sessions": lambda _: "/account/sessions/",
    "account_mfa": lambda _: "/account/2fa/",
    "account_password": lambda _: "/account/password/change/",
    "approvals": lambda _: "/approvals/",
    "approval": lambda s: f"/approvals/{s.change.pk}/",
    **registry_money.PAGES,
}
# GET routes that are no pages: files, JSON, redirects. Each with its reason.
NO_PAGES: dict[str, str] = {
    "release_choose": "leads to release_diff",
    "rollout_timeline": "JSON",
    "rollout_log": "plain text",
    "drill_report": "JSON",
    "drill_phases": "CSV",
    "search": "JSON",
    "navigation": "a part of every page",
    **registry_money.NO_PAGES,
}
