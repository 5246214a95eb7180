from django.urls import URLPattern

from console.routes import page
from console.views import approvals, clusters, overview, plans, releases, rollouts, services

urlpatterns: list[URLPattern] = [
    page("", overview.index, "overview"),
    page("services/", services.index, "services"),
    page("new/service/", services.new, "service_new"),
    page("services/<slug:name>/", services.show, "service"),
    page("services/<slug:name>/edit/", services.edit, "service_edit"),
    page("releases/", releases.index, "releases"),
    page("new/release/", releases.new, "release_new"),
    page("releases/<int:release_id>/", releases.show, "release"),
    page("releases/<int:release_id>/compare/", releases.choose, "release_choose"),
    page("releases/<int:old_id>/to/<int:new_id>/", releases.diff, "release_diff"),
    page("rollouts/", rollouts.index, "rollouts"),
    page("new/rollout/", plans.new, "rollout_new"),
    page("rollouts/<int:rollout_id>/", rollouts.show, "rollout"),
    page("rollouts/<int:rollout_id>/timeline.json", rollouts.timeline, "rollout_timeline"),
    page("rollouts/<int:rollout_id>/pause/", rollouts.pause, "rollout_pause"),
    page("rollouts/<int:rollout_id>/resume/", rollouts.resume, "rollout_resume"),
    page("rollouts/<int:rollout_id>/abort/", rollouts.abort, "rollout_abort"),
    page("rollouts/<int:rollout_id>/roll-back/", rollouts.roll_back, "rollout_back"),
    page("rollouts/<int:rollout_id>/skip-gate/", rollouts.skip_gate, "rollout_skip"),
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
