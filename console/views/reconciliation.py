"""Reconciliation: the sums of the books that must agree, as the last check found them."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from billing.actions import reconciliations as actions
from billing.queries import reconciliations as queries
from billing.queries.sums import Check
from console.access import ViewerRequest
from console.downloads import download, wants_file
from tenants.rules.access import Permission

COLUMNS = ("sentence", "left", "right", "difference", "wrong", "named")
EARLIER = 30


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """The newest check, or the one that `check` names; `differs` narrows it to what differs."""
    latest = queries.latest(request.viewer)
    asked = request.GET.get("check", "")
    done = (
        queries.get_reconciliation(request.viewer, int(asked)) if asked.isdecimal() else latest.done
    )
    every = queries.checks_of(done) if done else []
    differs = bool(request.GET.get("differs"))
    found = [check for check in every if not (differs and check.holds)]
    if wants_file(request):
        return download(request, "reconciliation", COLUMNS, (as_row(c) for c in found))
    context = {
        "done": done,
        "waits": latest.waits,
        "checks": found,
        "count": len(every),
        "differs": differs,
        "earlier": queries.list_reconciliations(request.viewer).defer("sums")[:EARLIER],
        "may_ask": request.viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "economics/reconciliation.html", context)


def as_row(check: Check) -> tuple[object, ...]:
    difference = f"{check.right - check.left:f}"
    return (
        check.sentence, f"{check.left:f}", f"{check.right:f}", difference, check.wrong, check.said,
    )  # fmt: skip


@require_POST
def ask(request: ViewerRequest) -> HttpResponse:
    actions.request_check(request.viewer, now=timezone.now())
    messages.success(request, "The books are being checked; the result stands here when it is done")
    return redirect("reconciliation")
