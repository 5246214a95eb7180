"""What waits for a person who did not ask for it, and what was decided."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from billing.actions import grants, periods, publication, quarantine, sheet_publication
from console.access import ViewerRequest
from console.confirm import require_typed
from console.manifests import as_yaml, shown
from fleet.actions import rollouts
from fleet.actions.steps import KIND as STEP
from fleet.queries import rollouts as rollout_queries
from fleet.queries.freezes import EXCEPTION
from fleet.queries.pod_losses import KIND as POD_LOSS
from fleet.queries.releases import compare_releases
from fleet.queries.sequences import KIND as SEQUENCE
from tenants.actions import changes as actions
from tenants.queries import changes as queries
from tenants.rules.access import Permission, Viewer

PRICES = publication.KIND
NODE_PRICES = sheet_publication.KIND
# What an approval does where the page shows no plan, and the page on which one sees it.
EFFECTS = {
    STEP: "The rollout goes on from this step. It holds for exactly what the gate judged, as below;"
    " a rejection pauses it at its present share.",
    EXCEPTION: "The rollout begins although a freeze holds, with exactly these manifests.",
    SEQUENCE: "The release goes through these clusters in this order, with exactly these manifests:"
    " each cluster begins by itself when the one before has baked.",
    POD_LOSS: "One replica of the service is killed when all of them serve and nothing else moves"
    " it. What it was answering is cut.",
    periods.KIND: "Late charges join the period again; invoices that were issued stay as they are.",
    grants.KIND: "The account's next invoice draws on it, in the order of priorities.",
    quarantine.KIND: "What is taken is charged within minutes, at the prices of its hour; what is"
    " dropped never is.",
    NODE_PRICES: "What GPUs cost us from then on; hours attributed at other prices are attributed"
    " again. No tenant is charged anything else.",
    PRICES: "These prices hold in this range; hours charged at others get a corrected row.",
}
PLACES = {  # pages of what their changes are about, by its id
    rollouts.KIND: "rollout",
    STEP: "rollout",
    EXCEPTION: "rollout",
    SEQUENCE: "sequence",
    POD_LOSS: "drill",
    periods.KIND: "period",
    grants.KIND: "credit_grant",
    quarantine.KIND: "quarantine_decision",
}
STATES = {"waiting": "Waiting", "approved": "Approved", "rejected": "Rejected", "": "All"}


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    state = request.GET.get("state", "waiting")
    rows = queries.list_changes(request.viewer, state=state if state in queries.STATES else "")
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    return render(
        request, "approvals/index.html", {"page": page, "state": state, "states": STATES.items()}
    )


@require_GET
def show(request: ViewerRequest, change_id: int) -> HttpResponse:
    change = queries.get_change(request.viewer, change_id)
    viewer = request.viewer
    is_own = change.requester_id == viewer.user_id
    may_decide = viewer.may(Permission.APPROVE) and not is_own
    approvers = queries.approvers_of(viewer, change, timezone.now())
    begins_at = next((a.begins_at for a in approvers if a.user_id == viewer.user_id), None)
    context = {
        "change": change,
        "is_waiting": change.state == queries.WAITING,
        "is_own": is_own,
        "may_decide": may_decide,
        "may_approve": may_decide and begins_at is None,
        "begins_at": begins_at,
        "approvers": approvers,
        "may_withdraw": viewer.may(Permission.PROPOSE),
        "typed": name_of(change.title),
        "payload": as_yaml(change.payload),
        "effect": EFFECTS.get(change.kind, ""),
        "place": place_of(change),
    }
    if change.kind == rollouts.KIND:
        context |= rollout_context(viewer, change.target_id)
    if change.kind == PRICES:
        context["price"] = change.payload
    return render(request, "approvals/show.html", context)


def rollout_context(viewer: Viewer, rollout_id: int) -> dict[str, Any]:
    """What the change does: the plan as it was frozen, the difference, the manifests."""
    row = rollout_queries.find_rollout(viewer, rollout_id)
    detail = rollout_queries.get_rollout(viewer, row)
    context: dict[str, Any] = {
        "rollout": detail,
        "manifests": shown(detail.manifests),
        "steps": detail.steps,
        "lines": detail.table,
        "touched": row.plan.get("touched", ()),
        "soak_seconds": detail.numbers.get("soak_seconds"),
    }
    if detail.old:
        context["diff"] = compare_releases(viewer, detail.old.release_id, detail.new.release_id)
    return context


def name_of(title: str) -> str:
    """The word to type before approving: the object's name, with which a title begins."""
    return (title.split() or [""])[0].rstrip(":")


@require_POST
def decide(request: ViewerRequest, change_id: int) -> HttpResponse:
    """`digest` is what the page showed: another one since then is refused."""
    change = queries.get_change(request.viewer, change_id)
    approve = request.POST.get("verdict") == "approve"
    if approve:
        require_typed(request, name_of(change.title))
    actions.decide(
        request.viewer,
        change_id,
        digest=request.POST.get("digest", ""),
        approve=approve,
        why=request.POST.get("why", ""),
    )
    messages.success(request, f"{'Approved' if approve else 'Rejected'}: {change.title}")
    return after(change)


@require_POST
def withdraw(request: ViewerRequest, change_id: int) -> HttpResponse:
    change = actions.withdraw(request.viewer, change_id, why=request.POST.get("why", ""))
    messages.success(request, f"Withdrawn: {change.title}")
    if change.kind in (
        PRICES,
        NODE_PRICES,
    ):  # who proposes prices may not see the fleet's approvals
        return after(change)
    return redirect("approval", change_id=change_id)


def after(change: Any) -> HttpResponse:
    """Go where the change takes effect: there one sees what happens next."""
    return redirect(place_of(change) or reverse("approval", args=[change.pk]))


def place_of(change: Any) -> str:
    """The page of what is changed. Empty: it has none of its own."""
    if name := PLACES.get(change.kind):
        return reverse(name, args=[change.target_id])
    if change.kind == NODE_PRICES:
        return reverse("node_prices", args=[change.payload["number"]])
    if change.kind == PRICES:
        return reverse("price_version", args=[change.payload["book"], change.payload["version"]])
    return ""
