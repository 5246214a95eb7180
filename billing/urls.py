"""REST API of `billing`, below /api/v1/."""

from django.urls import URLPattern, URLResolver, path

from billing.api.ingest import IngestView

urlpatterns: list[URLPattern | URLResolver] = [
    path("usage/events", IngestView.as_view()),
]
