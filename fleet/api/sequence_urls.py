"""Addresses of placements in several clusters and of sequences through them."""

from django.urls import URLPattern, path

from fleet.api import sequences

urlpatterns: list[URLPattern] = [
    path("services/<int:service_id>/placements", sequences.PlacementsView.as_view()),
    path("sequences", sequences.SequencesView.as_view()),
    path("sequences/<int:sequence_id>", sequences.SequenceView.as_view()),
    path("sequences/<int:sequence_id>/pause", sequences.PauseView.as_view()),
    path("sequences/<int:sequence_id>/resume", sequences.ResumeView.as_view()),
    path("sequences/<int:sequence_id>/end", sequences.EndView.as_view()),
    path("sequences/<int:sequence_id>/roll-back", sequences.RollBackView.as_view()),
    path(
        "sequences/<int:sequence_id>/stages/<int:number>/leave-out",
        sequences.LeaveOutView.as_view(),
    ),
]
