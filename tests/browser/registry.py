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
    "clusters": lambda _: "/clusters/",
    "cluster": lambda s: f"/clusters/{s.cluster.slug}/",
    "cluster_register": lambda _: "/new/cluster/",
    "nodes": lambda _: "/nodes/",
    "approvals": lambda _: "/approvals/",
    "approval": lambda s: f"/approvals/{s.change.pk}/",
}
# GET routes that are no pages: files, JSON, redirects. Each with its reason.
NO_PAGES: dict[str, str] = {}
