"""Clusters, what the console may do there, and their nodes."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from billing.queries.gpu_prices import NodePrice, node_prices
from console.access import ViewerRequest, own_scope, refused
from console.confirm import require_typed
from console.forms import explain
from console.forms.fleet import ClusterChangeForm, ClusterForm
from fleet.actions import clusters as actions
from fleet.queries import clusters as queries
from fleet.queries.drift import list_drift
from fleet.queries.node_capacity import NodeCapacity, list_node_capacity
from fleet.queries.node_drift import list_node_drift
from tenants.base.scope import scope_of
from tenants.errors import ConsoleError
from tenants.rules.access import Permission, Viewer

NODE_STATES = {"": "All", "out": "Out of service", "free": "With free GPUs"}


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    clusters = queries.list_clusters(request.viewer, timezone.now())
    return render(
        request,
        "clusters/index.html",
        {
            "clusters": clusters,
            "regions": len({c.region for c in clusters}),
            "may_manage": request.viewer.may(Permission.MANAGE_FLEET),
        },
    )


@require_GET
def nodes(request: ViewerRequest) -> HttpResponse:
    """Filters: `state` (out, free), `product`, `cluster`."""
    rows = queries.list_nodes(request.viewer)
    paid = how_paid(request.viewer)
    products = sorted({n.gpu_product for n in rows if n.gpu_product})
    wanted = {k: request.GET.get(k, "") for k in ("state", "product", "cluster")}
    shown = [n for n in rows if matches(n, **wanted)]
    context: dict[str, Any] = {
        "nodes": [(n, *paid(n.cluster, n.name)) for n in shown],
        "all": len(rows),
        "products": products,
        "wanted": wanted,
        "may_money": request.viewer.may(Permission.VIEW_MONEY),
    }
    context["clusters"] = sorted({n.cluster for n in rows})
    context["node_drifts"] = list_node_drift(request.viewer, cluster=wanted["cluster"])
    context["may_propose"] = request.viewer.may(Permission.PROPOSE)
    return render(request, "clusters/nodes.html", context | {"states": NODE_STATES.items()})


Paid = tuple[NodeCapacity | None, NodePrice | None]


def how_paid(viewer: Viewer) -> Callable[[str, str], Paid]:
    """By cluster and node: what it told of itself, and its price to those who may see money."""
    if viewer.may(Permission.VIEW_MONEY):
        prices = node_prices(viewer, timezone.now())
        priced = {key: (price.node, price) for key, price in prices.items()}
        return lambda cluster, name: priced.get((cluster, name), (None, None))
    nodes = {(n.cluster, n.node): n for n in list_node_capacity(viewer)}
    return lambda cluster, name: (nodes.get((cluster, name)), None)


def matches(node: queries.NodeRow, *, state: str, product: str, cluster: str) -> bool:
    is_state = {"out": node.is_out, "free": node.gpus.free > 0}.get(state, True)
    return (
        is_state and (not product or node.gpu_product == product)
        and (not cluster or node.cluster == cluster)
    )  # fmt: skip


@require_GET
def show(request: ViewerRequest, slug: str) -> HttpResponse:
    return render(request, "clusters/show.html", detail(request, slug))


def detail(request: ViewerRequest, slug: str) -> dict[str, Any]:
    found = queries.get_cluster(request.viewer, slug, timezone.now())
    row = found.cluster
    form = ClusterChangeForm(
        initial={
            "name": row.name, "region": row.region, "hosted": row.hosted,
            "provider": row.provider,
            "confidential": row.confidential, "version": row.version,
            "weights_cache": row.weights_cache, "weights_secret": row.weights_secret,
        }
    )  # fmt: skip
    may = request.viewer.may(Permission.MANAGE_FLEET)
    return {
        "detail": found, "cluster": row, "form": form, "may_manage": may,
        "drifts": list_drift(request.viewer, cluster=slug),
        "node_drifts": list_node_drift(request.viewer, cluster=slug),
        "may_propose": request.viewer.may(Permission.PROPOSE),
    }  # fmt: skip


@require_POST
def change(request: ViewerRequest, slug: str) -> HttpResponse:
    context = detail(request, slug)
    form = context["form"] = ClusterChangeForm(request.POST)
    if form.is_valid():
        fields = dict(form.cleaned_data)
        version = fields.pop("version")
        try:
            actions.change(request.viewer, context["cluster"].id, version, **fields)
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Changed: {slug}")
            return redirect("cluster", slug=slug)
    return render(request, "clusters/show.html", context, status=422)


@require_POST
def remove(request: ViewerRequest, slug: str) -> HttpResponse:
    row = queries.get_cluster(request.viewer, slug, timezone.now()).cluster
    require_typed(request, slug)
    actions.remove(request.viewer, row.id, row.version, why=request.POST.get("why", ""))
    messages.success(request, f"Removed {slug}: its credential is forgotten, its history stays")
    return redirect("clusters")


@own_scope
@require_http_methods(["GET", "POST"])
def register(request: ViewerRequest) -> HttpResponse:
    """The cluster is asked before any transaction opens: it may take seconds to answer."""
    form = ClusterForm(request.POST or None)
    viewer = request.viewer
    try:
        viewer.require(Permission.MANAGE_FLEET)
    except ConsoleError as refusal:
        return refused(request, refusal)
    if request.method == "POST" and form.is_valid():
        try:
            return registered(request, dict(form.cleaned_data))
        except ConsoleError as refusal:
            explain(form, refusal)
    with scope_of(viewer):
        namespace = form["namespace"].value() or "models"
        rbac, token_command = queries.printed_rbac(viewer, namespace)
        context = {"form": form, "rbac": rbac, "token_command": token_command}
        return render(
            request, "clusters/register.html", context, status=422 if form.errors else 200
        )


def registered(request: ViewerRequest, fields: dict[str, Any]) -> HttpResponse:
    kubeconfig, in_cluster = fields.pop("kubeconfig"), fields.pop("in_cluster")
    examined = actions.examine(
        request.viewer,
        kubeconfig=kubeconfig,
        in_cluster=in_cluster,
        namespace=fields["namespace"],
    )
    with scope_of(request.viewer):
        cluster = actions.register(request.viewer, examined, **fields)
    messages.success(request, f"Registered {cluster.slug}: Kubernetes {examined.version} answers")
    return redirect("cluster", slug=cluster.slug)
