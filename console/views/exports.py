"""Exports: files of charges with their evidence, made on demand."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from billing.actions import exports as actions
from billing.queries import exports as queries
from billing.queries.accounts import get_account
from billing.queries.deliveries import list_destinations
from billing.rules.manifests import Checked, hours_complete
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.exports import ExportForm
from tenants.base.files import answer_file
from tenants.errors import ConsoleError, NotFound
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission

COLUMNS = (
    "export", "tenant", "format", "file_type", "schedule", "starts_at", "ends_at", "state", "why",
    "rows", "bytes", "sums", "complete_hours", "hours", "errors", "complete_until", "sha256",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of a finished file: hours that are complete, and what it was checked for."""

    done: int
    hours: int
    checks: Checked | None  # None: of files from before it was kept

    @property
    def errors(self) -> int | str:
        return self.checks["errors"] if self.checks else ""


@require_http_methods(["GET", "POST"])
def index(request: ViewerRequest) -> HttpResponse:
    """The files, newest first, and a form that asks for one. `tenant` chooses a tenant."""
    receivers = receiver_choices(request)
    form = ExportForm(
        request.POST or None, tenants=tenant_choices(request), receivers=receivers,
        initial=this_month(request),
    )  # fmt: skip
    if request.method == "POST" and form.is_valid():
        slug = form.cleaned_data["tenant"]
        try:
            job = actions.request_export(
                request.viewer, format=form.cleaned_data["format"], now=timezone.now(),
                file_type=form.cleaned_data["file_type"] or "csv",
                tenant_id=tenant_id(request, slug), **form.span(zone_of(request, slug)),
                destination_id=int(form.cleaned_data["destination"] or 0) or None,
            )  # fmt: skip
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Export {job.pk} is being made; it appears below")
            return redirect("exports")
    rows = queries.list_exports(request.viewer)
    names = tenant_ids(request)
    if request.method == "GET" and wants_file(request):
        return download(request, "exports", COLUMNS, (cells_of(j, names) for j in rows.iterator()))
    page = Paginator(rows, 25).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "form": form,
        "has_receivers": bool(receivers),
        "page": page,
        "jobs": [
            (j, names.get(j.tenant_id or 0, "the fleet"), sums_of(j), evidence_of(j))
            for j in page.object_list
        ],
        "schedules": [
            (s, names.get(s.tenant_id or 0, "the fleet"))
            for s in queries.list_schedules(request.viewer)
        ],
        "is_fleet": request.viewer.may(Permission.VIEW_MONEY),
        "may_schedule": request.viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "exports/index.html", context, status=422 if form.errors else 200)


def evidence_of(job: Any) -> Evidence | None:
    """None while there is no file."""
    artifact = getattr(job, "artifact", None)
    if artifact is None:
        return None
    done, hours = hours_complete(job.starts_at, job.ends_at, artifact.complete_until)
    return Evidence(done, hours, artifact.manifest.get("checks"))


def cells_of(job: Any, names: dict[int, str]) -> tuple[Any, ...]:
    """In the order of `COLUMNS`."""
    found, artifact = evidence_of(job), getattr(job, "artifact", None)
    sums = " ".join(f"{amount:f} {currency}" for currency, amount in sums_of(job))
    schedule = job.schedule.name if job.schedule else ""
    return (
        *(job.pk, names.get(job.tenant_id or 0, ""), job.format, job.file_type, schedule),
        *(job.starts_at, job.ends_at, job.state, job.why),
        *((artifact.rows, artifact.bytes) if artifact else ("", "")),
        *((sums, found.done, found.hours, found.errors) if found else ("", "", "", "")),
        *((artifact.complete_until, artifact.sha256) if artifact else ("", "")),
    )


def receiver_choices(request: ViewerRequest) -> list[tuple[int, str]]:
    """Whom the viewer may send files to."""
    if not request.viewer.may_somewhere(Permission.MANAGE_MONEY):
        return []
    return [(d.pk, d.name) for d in list_destinations(request.viewer)]


def sums_of(job: Any) -> list[tuple[str, Decimal]]:
    """Exact sums by currency; none while there is no file."""
    artifact = getattr(job, "artifact", None)
    return [(c, Decimal(s)) for c, s in artifact.sums.items()] if artifact else []


def this_month(request: ViewerRequest) -> dict[str, Any]:
    today = timezone.now().date()
    first = today.replace(day=1)
    if first == today:  # nothing of this month is whole yet: offer the one before
        first = (first - timedelta(days=1)).replace(day=1)
    return {"first": first, "last": today, "tenant": request.GET.get("tenant", "")}


def tenant_ids(request: ViewerRequest) -> dict[int, str]:
    """Tenants whose money the viewer may see."""
    see = Permission.VIEW_MONEY
    return {t.id: t.slug for t in tenant_refs().values() if request.viewer.may(see, t.id)}


def zone_of(request: ViewerRequest, slug: str) -> str:
    return get_account(request.viewer, slug).time_zone if slug else "UTC"


def tenant_choices(request: ViewerRequest) -> list[tuple[str, str]]:
    slugs = [(slug, slug) for slug in sorted(tenant_ids(request).values())]
    fleet = [("", "The whole fleet")] if request.viewer.may(Permission.VIEW_MONEY) else []
    return fleet + slugs


def tenant_id(request: ViewerRequest, slug: str) -> int | None:
    if not slug:
        return None
    found = next((pk for pk, name in tenant_ids(request).items() if name == slug), None)
    if found is None:
        raise NotFound("No such tenant")
    return found


@require_POST
def retry(request: ViewerRequest, job_id: int) -> HttpResponse:
    actions.retry_export(request.viewer, job_id, now=timezone.now())
    messages.success(request, f"Export {job_id} is tried again")
    return redirect("exports")


@require_GET
def file(request: ViewerRequest, job_id: int) -> HttpResponseBase:
    artifact, opened = queries.open_export(request.viewer, job_id)
    answer = answer_file(
        request, opened, filename=artifact.filename, size=artifact.bytes,
        content_type=queries.media_type(artifact.filename),
    )  # fmt: skip
    answer["X-Content-SHA256"] = artifact.sha256
    return answer


@require_GET
def manifest(request: ViewerRequest, job_id: int) -> HttpResponse:
    """What is in the file, as of when, and how to check it."""
    job = queries.get_export(request.viewer, job_id)
    artifact = getattr(job, "artifact", None)
    if artifact is None or not artifact.manifest:
        raise NotFound(f"Export {job_id} has no manifest")
    return JsonResponse(artifact.manifest, json_dumps_params={"indent": 1})
