"""What to do about a node whose labels or taints were changed."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from console.access import ViewerRequest
from fleet.actions import node_drift as actions


@require_POST
def accept(request: ViewerRequest, drift_id: int) -> HttpResponse:
    """Without `live` the viewer saw that it is not there."""
    seen, why = request.POST.get("live"), request.POST.get("why", "")
    row = actions.accept(request.viewer, drift_id, live=seen, why=why)
    messages.success(request, f"{row} is expected as it is now")
    return redirect("nodes")
