"""URLs of the pages, grouped by who asks: operate, tenants, money, assurance."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
