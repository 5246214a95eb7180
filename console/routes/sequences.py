from django.urls import URLPattern

from console.routes import page
from console.views import sequences

urlpatterns: list[URLPattern] = [
    page("services/<slug:name>/placements/", sequences.placements, "service_placements"),
    page("new/sequence/", sequences.new, "sequence_new"),
    page("sequences/<int:sequence_id>/", sequences.show, "sequence"),
    page("sequences/<int:sequence_id>/pause/", sequences.pause, "sequence_pause"),
    page("sequences/<int:sequence_id>/resume/", sequences.resume, "sequence_resume"),
    page("sequences/<int:sequence_id>/end/", sequences.end, "sequence_end"),
    page("sequences/<int:sequence_id>/roll-back/", sequences.roll_back, "sequence_back"),
    page(
        "sequences/<int:sequence_id>/stages/<int:number>/leave-out/",
        sequences.leave_out,
        "sequence_leave_out",
    ),
]
