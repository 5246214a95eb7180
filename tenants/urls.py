"""REST API of `tenants`, below /api/v1/."""

from django.urls import URLPattern, URLResolver, path

from tenants.api import applications, evidence, gateways, people, quotas, tenants

urlpatterns: list[URLPattern | URLResolver] = [
    path("me", people.MeView.as_view()),
    path("tenants", tenants.TenantsView.as_view()),
    path("tenants/<slug:slug>", tenants.TenantView.as_view()),
    path("tenants/<slug:slug>/suspend", tenants.SuspendView.as_view()),
    path("tenants/<slug:slug>/resume", tenants.ResumeView.as_view()),
    path("tenants/<slug:slug>/renew-salt", tenants.RenewSaltView.as_view()),
    path("tenants/<slug:slug>/models", tenants.GrantsView.as_view()),
    path("tenants/<slug:slug>/models/<path:model>", tenants.GrantView.as_view()),
    path("tenants/<slug:slug>/applications", applications.ApplicationsView.as_view()),
    path(
        "tenants/<slug:slug>/applications/<slug:application>",
        applications.ApplicationView.as_view(),
    ),
    path(
        "tenants/<slug:slug>/applications/<slug:application>/keys",
        applications.ApplicationKeysView.as_view(),
    ),
    path("tenants/<slug:slug>/keys", applications.KeysView.as_view()),
    path("tenants/<slug:slug>/keys/<slug:key>", applications.KeyView.as_view()),
    path("tenants/<slug:slug>/keys/<slug:key>/rotate", applications.RotateKeyView.as_view()),
    path("tenants/<slug:slug>/keys/<slug:key>/revoke", applications.RevokeKeyView.as_view()),
    path("tenants/<slug:slug>/quotas", quotas.TenantQuotasView.as_view()),
    path("quotas", quotas.QuotasView.as_view()),
    path("quotas/<int:series>", quotas.QuotaView.as_view()),
    path("quotas/<int:series>/versions", quotas.QuotaVersionsView.as_view()),
    path("people", people.PeopleView.as_view()),
    path("people/<int:user_id>", people.PersonView.as_view()),
    path("people/<int:user_id>/give-role", people.GiveRoleView.as_view()),
    path("people/<int:user_id>/take-role", people.TakeRoleView.as_view()),
    path("people/<int:user_id>/deactivate", people.DeactivateView.as_view()),
    path("people/<int:user_id>/reactivate", people.ReactivateView.as_view()),
    path("people/<int:user_id>/reset-password", people.ResetPasswordView.as_view()),
    path("tokens", people.TokensView.as_view()),
    path("tokens/<slug:token>/revoke", people.RevokeTokenView.as_view()),
    path("usage-sources", people.SourcesView.as_view()),
    path("usage-sources/<slug:name>/renew", people.RenewSourceView.as_view()),
    path("usage-sources/<slug:name>/revoke", people.RevokeSourceView.as_view()),
    path("routing/snapshot", gateways.RoutingView.as_view()),
    path("changes", evidence.ChangesView.as_view()),
    path("changes/<int:change_id>", evidence.ChangeView.as_view()),
    path("changes/<int:change_id>/decide", evidence.DecideView.as_view()),
    path("changes/<int:change_id>/withdraw", evidence.WithdrawView.as_view()),
    path("audit", evidence.EventsView.as_view()),
    path("audit/<int:event_id>", evidence.EventView.as_view()),
]
