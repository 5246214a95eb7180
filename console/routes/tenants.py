"""Pages of tenants, identities, quotas, evidence and one's own account.

Forms that make something live below `new/`, so that no short name can collide with them.
"""

from django.urls import URLPattern

from console.routes import page
from console.views import (
    account,
    applications,
    audit,
    keys,
    navigation,
    people,
    quotas,
    reference,
    search,
    tenants,
)

urlpatterns: list[URLPattern] = [
    page("tenants/", tenants.index, "tenants"),
    page("new/tenant/", tenants.new, "tenant_new"),
    page("tenants/<slug:slug>/", tenants.show, "tenant"),
    page("tenants/<slug:slug>/edit/", tenants.edit, "tenant_edit"),
    page("tenants/<slug:slug>/suspend/", tenants.suspend, "tenant_suspend"),
    page("tenants/<slug:slug>/resume/", tenants.resume, "tenant_resume"),
    page("tenants/<slug:slug>/renew-salt/", tenants.renew_salt, "tenant_renew_salt"),
    page("tenants/<slug:slug>/applications/", applications.index, "tenant_applications"),
    page("tenants/<slug:slug>/new/application/", applications.new, "application_new"),
    page(
        "tenants/<slug:slug>/applications/<slug:application>/edit/",
        applications.edit,
        "application_edit",
    ),
    page("tenants/<slug:slug>/applications/<slug:application>/new/key/", keys.new, "key_new"),
    page("tenants/<slug:slug>/keys/<slug:key>/rotate/", keys.rotate, "key_rotate"),
    page("tenants/<slug:slug>/keys/<slug:key>/revoke/", keys.revoke, "key_revoke"),
    page("tenants/<slug:slug>/quotas/", quotas.of_tenant, "tenant_quotas"),
    page("tenants/<slug:slug>/new/quota/", quotas.new, "quota_new"),
    page("tenants/<slug:slug>/models/", tenants.models, "tenant_models"),
    page("tenants/<slug:slug>/models/grant/", tenants.grant, "model_grant"),
    page("tenants/<slug:slug>/models/withdraw/", tenants.withdraw, "model_withdraw"),
    page("tenants/<slug:slug>/people/", tenants.team, "tenant_people"),
    page("tenants/<slug:slug>/activity/", tenants.activity, "tenant_activity"),
    page("quotas/", quotas.index, "quotas"),
    page("quotas/<int:series>/", quotas.show, "quota"),
    page("quotas/<int:series>/clear/", quotas.clear, "quota_clear"),
    page("people/", people.index, "people"),
    page("new/person/", people.new, "person_new"),
    page("people/<int:user_id>/", people.show, "person"),
    page("people/<int:user_id>/give-role/", people.give_role, "role_give"),
    page("people/<int:user_id>/take-role/", people.take_role, "role_take"),
    page("people/<int:user_id>/deactivate/", people.deactivate, "person_deactivate"),
    page("people/<int:user_id>/reactivate/", people.reactivate, "person_reactivate"),
    page("people/<int:user_id>/reset-password/", people.reset_password, "person_reset"),
    page("people/keys/", keys.index, "keys"),
    page("people/sources/", people.sources, "sources"),
    page("people/sources/<slug:name>/renew/", people.renew_source, "source_renew"),
    page("people/sources/<slug:name>/revoke/", people.revoke_source, "source_revoke"),
    page("tokens/", account.tokens, "tokens"),
    page("new/token/", account.new_token, "token_new"),
    page("tokens/<slug:token>/revoke/", account.revoke_token, "token_revoke"),
    page("me/sessions/<int:session_id>/end/", account.end_session, "session_end"),
    page("me/activity/", account.activity, "my_activity"),
    page("audit/", audit.index, "audit"),
    page("audit/<int:event_id>/", audit.show, "audit_event"),
    page("search/", search.search, "search"),
    page("navigation/", navigation.parts, "navigation"),
    page("reference/api/", reference.api, "api_docs"),
]
