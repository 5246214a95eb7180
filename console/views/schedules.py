"""Exports that are made each day, week or month."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from billing.actions import schedules as actions
from billing.queries.exports import get_schedule
from console.access import ViewerRequest
from console.forms import explain
from console.forms.exports import ScheduleChangeForm, ScheduleForm
from console.views.exports import receiver_choices, tenant_choices, tenant_id, tenant_ids
from tenants.errors import ConsoleError
from tenants.rules.access import Permission


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_MONEY)
    form = ScheduleForm(
        request.POST or None, tenants=tenant_choices(request), receivers=receiver_choices(request)
    )
    if request.method == "POST" and form.is_valid():
        try:
            made = actions.create_schedule(
                request.viewer, now=timezone.now(),
                tenant_id=tenant_id(request, form.cleaned_data["tenant"]),
                destination_id=form.receiver or None, **form.terms(),
            )  # fmt: skip
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{made.name} is made {made.rhythm} from now on")
            return redirect("exports")
    status = 422 if form.errors else 200
    return render(request, "exports/schedule.html", {"form": form}, status=status)


@require_http_methods(["GET", "POST"])
def edit(request: ViewerRequest, schedule_id: int) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_MONEY)
    found = get_schedule(request.viewer, schedule_id)
    form = ScheduleChangeForm(
        request.POST or None, initial=as_it_is(found), receivers=receiver_choices(request)
    )
    if request.method == "POST" and form.is_valid():
        try:
            actions.change_schedule(
                request.viewer, schedule_id, expected=form.cleaned_data["version"],
                now=timezone.now(), destination_id=form.receiver, **form.terms(),
            )  # fmt: skip
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{form.cleaned_data['name']} is changed")
            return redirect("exports")
    whose = tenant_ids(request).get(found.tenant_id or 0, "the fleet")
    context = {"form": form, "schedule": found, "whose": whose}
    return render(request, "exports/schedule.html", context, status=422 if form.errors else 200)


def as_it_is(schedule: Any) -> dict[str, Any]:
    names = "name", "format", "file_type", "local_time", "time_zone", "rhythm", "day", "version"
    found = {name: getattr(schedule, name) for name in names}
    return found | {"destination": schedule.destination_id or ""}


@require_POST
def switch(request: ViewerRequest, schedule_id: int) -> HttpResponse:
    """Switch a schedule on or off."""
    found = get_schedule(request.viewer, schedule_id)
    actions.change_schedule(
        request.viewer, schedule_id, expected=found.version, now=timezone.now(),
        enabled=not found.enabled,
    )  # fmt: skip
    messages.success(request, f"{found.name} is {'off' if found.enabled else 'on'}")
    return redirect("exports")


@require_POST
def remove(request: ViewerRequest, schedule_id: int) -> HttpResponse:
    found = get_schedule(request.viewer, schedule_id)
    actions.remove_schedule(request.viewer, schedule_id, expected=found.version, now=timezone.now())
    messages.success(request, f"{found.name} makes no further file; those that it made stay")
    return redirect("exports")
