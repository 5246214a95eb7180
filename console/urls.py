"""Root of all URLs. Pages are in console.views, the API in each app's `urls`."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from console.views.account import SessionsView, ask_operator
from console.views.health import livez, readyz

urlpatterns = [
    path("livez", livez),
    path("readyz", readyz),
    # Passwords come from operators, addresses stay: these doors of allauth lead to a sentence.
    path("account/password/reset/", ask_operator, name="account_reset_password"),
    path("account/signup/", ask_operator, name="account_signup"),
    path("account/email/", ask_operator, name="account_email"),
    path("account/", include("allauth.account.urls")),
    path("account/2fa/", include("allauth.mfa.urls")),
    path("account/sessions/", SessionsView.as_view(), name="usersessions_list"),
    path("api/v1/", include("tenants.urls")),
    path("api/v1/", include("fleet.urls")),
    path("api/v1/", include("billing.urls")),
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("", include("console.pages")),
]

handler404 = "console.views.errors.missing"
handler500 = "console.views.errors.broken"
