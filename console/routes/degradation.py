"""Pages of degradation: all tenants, and one."""

from django.urls import URLPattern

from console.routes import page
from console.views import degradation

urlpatterns: list[URLPattern] = [
    page("degradation/", degradation.index, "degradation"),
    page("tenants/<slug:slug>/degradation/", degradation.of_tenant, "tenant_degradation"),
]
