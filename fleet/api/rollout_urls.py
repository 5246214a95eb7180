"""Addresses of releases, plans, rollouts and the change calendar."""

from django.urls import URLPattern, path

from fleet.api import (
    freezes,
    plan_outcome,
    releases,
    resolutions,
    rollout_harm,
    rollout_parts,
    rollout_queue,
    rollouts,
)
from fleet.api.observation_urls import own_scope

urlpatterns: list[URLPattern] = [
    path("releases", releases.ReleasesView.as_view()),
    path("releases/<int:release_id>", releases.ReleaseView.as_view()),
    path("releases/<int:release_id>/compare", releases.CompareView.as_view()),
    path("resolutions", resolutions.ResolutionsView.as_view()),
    path("resolutions/image", own_scope(resolutions.ResolveImageView.as_view())),
    path("resolutions/model", own_scope(resolutions.ResolveModelView.as_view())),
    path("resolutions/<int:resolution_id>/check-signature", resolutions.CheckAgainView.as_view()),
    path("plans", rollouts.PlansView.as_view()),
    path("rollouts", rollouts.RolloutsView.as_view()),
    path("rollouts/queues", rollout_queue.QueuesView.as_view()),
    path("rollouts/<int:rollout_id>", rollouts.RolloutView.as_view()),
    path("rollouts/<int:rollout_id>/plan", plan_outcome.PlanOutcomeView.as_view()),
    path("rollouts/<int:rollout_id>/harm", rollout_harm.HarmView.as_view()),
    path("rollouts/<int:rollout_id>/close", rollouts.CloseView.as_view()),
    path("rollouts/<int:rollout_id>/traffic", rollout_parts.TrafficView.as_view()),
    path("rollouts/<int:rollout_id>/logs/<int:log_id>", rollout_parts.LogView.as_view()),
    path("rollouts/<int:rollout_id>/by-hand", rollouts.ByHandView.as_view()),
    path("rollouts/<int:rollout_id>/exception", freezes.ExceptionView.as_view()),
    path("rollouts/<int:rollout_id>/pause", rollouts.PauseView.as_view()),
    path("rollouts/<int:rollout_id>/acknowledge", rollouts.AcknowledgeView.as_view()),
    path("rollouts/<int:rollout_id>/resume", rollouts.ResumeView.as_view()),
    path("rollouts/<int:rollout_id>/abort", rollouts.AbortView.as_view()),
    path("rollouts/<int:rollout_id>/roll-back", rollouts.RollBackView.as_view()),
    path("rollouts/<int:rollout_id>/skip-gate", rollouts.SkipGateView.as_view()),
    path("freezes", freezes.FreezesView.as_view()),
    path("freezes/<int:freeze_id>/end", freezes.EndFreezeView.as_view()),
]
