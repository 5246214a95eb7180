from django.urls import URLPattern

from console.routes import page
from console.views import approvals, clusters, overview, services

urlpatterns: list[URLPattern] = [
    page("", overview.index, "overview"),
    page("services/", services.index, "services"),
    page("new/service/", services.new, "service_new"),
    page("services/<slug:name>/", services.show, "service"),
    page("services/<slug:name>/edit/", services.edit, "service_edit"),
    page("clusters/", clusters.index, "clusters"),
    page("new/cluster/", clusters.register, "cluster_register"),
    page("clusters/<slug:slug>/", clusters.show, "cluster"),
    page("clusters/<slug:slug>/change/", clusters.change, "cluster_change"),
    page("clusters/<slug:slug>/remove/", clusters.remove, "cluster_remove"),
    page("nodes/", clusters.nodes, "nodes"),
    page("approvals/", approvals.index, "approvals"),
    page("approvals/<int:change_id>/", approvals.show, "approval"),
    page("approvals/<int:change_id>/decide/", approvals.decide, "approval_decide"),
    page("approvals/<int:change_id>/withdraw/", approvals.withdraw, "approval_withdraw"),
]
