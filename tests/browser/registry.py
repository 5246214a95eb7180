"""Every page that a GET opens, and how to make its address from a scene."""

from collections.abc import Callable
from types import SimpleNamespace

Address = Callable[[SimpleNamespace], str]

PAGES: dict[str, Address] = {
    "overview": lambda _: "/",
    "services": lambda _: "/services/",
    "service": lambda s: f"/services/{s.services[1].name}/",
    "service_new": lambda _: "/new/service/",
    "service_edit": lambda s: f"/services/{s.services[1].name}/edit/",
    "releases": lambda _: "/releases/",
    "release": lambda s: f"/releases/{s.releases[1].pk}/",
    "release_new": lambda s: f"/new/release/?copy={s.releases[1].pk}",
    "release_diff": lambda s: (
        f"/releases/{s.releases[1].pk}/to/{s.rollouts['analyzing'].to_release_id}/"
    ),
    "rollouts": lambda _: "/rollouts/",
    "rollout": lambda s: f"/rollouts/{s.rollouts['analyzing'].pk}/",
    "rollout_failed": lambda s: f"/rollouts/{s.rollouts['rolled_back'].pk}/",
    "rollout_waiting": lambda s: f"/rollouts/{s.rollouts['waiting'].pk}/",
    "rollout_choose": lambda s: f"/new/rollout/?service={s.services[0].name}",
    "rollout_new": lambda s: f"/new/rollout/?release={s.spare.pk}",
    "clusters": lambda _: "/clusters/",
    "cluster": lambda s: f"/clusters/{s.cluster.slug}/",
    "cluster_register": lambda _: "/new/cluster/",
    "nodes": lambda _: "/nodes/",
    "approvals": lambda _: "/approvals/",
    "approval": lambda s: f"/approvals/{s.change.pk}/",
}
# GET routes that are no pages: files, JSON, redirects. Each with its reason.
NO_PAGES: dict[str, str] = {
    "release_choose": "leads to release_diff",
    "rollout_timeline": "JSON",
}
