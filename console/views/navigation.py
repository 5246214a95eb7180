"""The frame's navigation alone: counts and ages go on while a page stays open."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from console.access import ViewerRequest


@require_GET
def parts(request: ViewerRequest) -> HttpResponse:
    return render(request, "shell/navigation_parts.html")
