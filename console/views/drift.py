"""What to do about a Deployment that runs otherwise than declared."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from console.access import ViewerRequest
from fleet.actions import drift as actions
from fleet.actions.adoption import adopt_content as adopt_as_release
from tenants.errors import Invalid


@require_POST
def repair(request: ViewerRequest, deployment_id: int) -> HttpResponse:
    why = request.POST.get("why", "")
    row = actions.repair(request.viewer, deployment_id, why=why)
    messages.success(request, f"{row}: the declared state is applied again within seconds")
    return redirect("service", name=row.service.name)


@require_POST
def adopt(request: ViewerRequest, deployment_id: int) -> HttpResponse:
    seen = request.POST.get("replicas", "")
    if not seen.isdecimal():
        raise Invalid(replicas="Say which number of replicas was seen")
    why = request.POST.get("why", "")
    row = actions.adopt(request.viewer, deployment_id, replicas=int(seen), why=why)
    messages.success(request, f"{row}: {seen} replicas are declared from now on")
    return redirect("service", name=row.service.name)


@require_POST
def adopt_content(request: ViewerRequest, deployment_id: int) -> HttpResponse:
    """Its plan is next: a release serves once it was approved and rolled out."""
    edit, why = request.POST.get("edit", ""), request.POST.get("why", "")
    release = adopt_as_release(request.viewer, deployment_id, edit=edit, why=why)
    messages.success(request, f"{release} declares what runs now. It serves once it is rolled out")
    plan = reverse("rollout_new")
    return redirect(f"{plan}?service={release.service.name}&release={release.pk}")
