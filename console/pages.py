"""URLs of the pages, grouped by who asks: operate, tenants, money, assurance."""

from django.urls import URLPattern, URLResolver

from console.routes import degradation, drills, fleet, money, sequences, tenants

urlpatterns: list[URLPattern | URLResolver] = [
    *fleet.urlpatterns,
    *sequences.urlpatterns,
    *drills.urlpatterns,
    *degradation.urlpatterns,
    *tenants.urlpatterns,
    *money.urlpatterns,
]
