"""REST API of `fleet`, below /api/v1/."""

from django.urls import URLPattern, URLResolver

from fleet.api import drill_urls, observation_urls, rollout_urls, sequence_urls

urlpatterns: list[URLPattern | URLResolver] = [
    *observation_urls.urlpatterns,
    *rollout_urls.urlpatterns,
    *sequence_urls.urlpatterns,
    *drill_urls.urlpatterns,
]
