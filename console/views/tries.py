"""The demo's bad releases, each rolled out by one click."""

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from console.access import ViewerRequest
from console.demo.tries import Try, tries, try_out
from tenants.rules.access import Permission


def tries_for(request: ViewerRequest) -> list[Try]:
    """None but in the demo, and none for people who may not propose."""
    if not settings.QM_UP_FILE or not request.viewer.may(Permission.PROPOSE):
        return []
    return tries(request.viewer)


@require_POST
def start(request: ViewerRequest, release_id: int) -> HttpResponse:
    if not settings.QM_UP_FILE:
        raise Http404
    rollout_id = try_out(request.viewer, release_id)
    messages.success(request, "Proposed, and approved by the demo's approver: watch it go back")
    return redirect("rollout", rollout_id)
