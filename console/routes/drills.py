from django.urls import URLPattern

from console.routes import page
from console.views import drills

urlpatterns: list[URLPattern] = [
    page("drills/", drills.index, "drills"),
    page("new/drill/", drills.new, "drill_new"),
    page("new/drill/pod/", drills.lose_pod, "drill_pod_new"),
    page("drills/<int:drill_id>/", drills.show, "drill"),
    page("drills/<int:drill_id>/report.json", drills.report, "drill_report"),
    page("drills/<int:drill_id>/report.csv", drills.phases, "drill_phases"),
]
