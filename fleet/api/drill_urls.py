"""Addresses of drills."""

from django.urls import URLPattern, path

from fleet.api import drills

urlpatterns: list[URLPattern] = [
    path("drills", drills.DrillsView.as_view()),
    path("drills/pod-losses", drills.PodLossesView.as_view()),
    path("drills/ages", drills.DrillAgesView.as_view()),
    path("drills/<int:drill_id>", drills.DrillView.as_view()),
]
