"""Addresses of releases, plans and rollouts."""

from django.urls import URLPattern, path

from fleet.api import plan_outcome, releases, rollouts

urlpatterns: list[URLPattern] = [
    path("releases", releases.ReleasesView.as_view()),
    path("releases/<int:release_id>", releases.ReleaseView.as_view()),
    path("releases/<int:release_id>/compare", releases.CompareView.as_view()),
    path("plans", rollouts.PlansView.as_view()),
    path("rollouts", rollouts.RolloutsView.as_view()),
    path("rollouts/<int:rollout_id>", rollouts.RolloutView.as_view()),
    path("rollouts/<int:rollout_id>/plan", plan_outcome.PlanOutcomeView.as_view()),
    path("rollouts/<int:rollout_id>/pause", rollouts.PauseView.as_view()),
    path("rollouts/<int:rollout_id>/resume", rollouts.ResumeView.as_view()),
    path("rollouts/<int:rollout_id>/abort", rollouts.AbortView.as_view()),
    path("rollouts/<int:rollout_id>/roll-back", rollouts.RollBackView.as_view()),
    path("rollouts/<int:rollout_id>/skip-gate", rollouts.SkipGateView.as_view()),
]
