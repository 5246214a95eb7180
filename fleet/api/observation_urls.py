"""Addresses of clusters, nodes, gateways, services and all of theirs, drift and degradation."""

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path

from fleet.api import clusters, contracts, degradation, drift, node_drift, scaling, services


def own_scope(view: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a view that opens the viewer's scope itself, around its writes only."""
    view.own_scope = True  # type: ignore[attr-defined]
    return view


urlpatterns: list[URLPattern] = [
    path("clusters", own_scope(clusters.ClustersView.as_view())),
    path("clusters/<int:cluster_id>", clusters.ClusterView.as_view()),
    path("clusters/<int:cluster_id>/credential", own_scope(clusters.CredentialView.as_view())),
    path("nodes", clusters.NodesView.as_view()),
    path("gateways", clusters.GatewaysView.as_view()),
    path("services", services.ServicesView.as_view()),
    path("services/<int:service_id>", services.ServiceView.as_view()),
    path("services/<int:service_id>/contract", contracts.ContractView.as_view()),
    path("services/<int:service_id>/contract/try", own_scope(contracts.TryContractView.as_view())),
    path("services/<int:service_id>/scaling", scaling.ScalingView.as_view()),
    path("services/<int:service_id>/scaling/wake", scaling.WakeView.as_view()),
    path("services/<int:service_id>/scaling/decisions", scaling.DecisionsView.as_view()),
    path("drift", drift.DriftsView.as_view()),
    path("deployments/<int:deployment_id>/repair", drift.RepairView.as_view()),
    path("deployments/<int:deployment_id>/adopt", drift.AdoptView.as_view()),
    path("deployments/<int:deployment_id>/adopt-content", drift.AdoptContentView.as_view()),
    path("node-drift", node_drift.NodeDriftsView.as_view()),
    path("node-drift/<int:drift_id>/accept", node_drift.AcceptView.as_view()),
    path("findings", degradation.FindingsView.as_view()),
    path("tenants/<slug:slug>/degradation", degradation.DegradationView.as_view()),
]
