"""What the fleet costs besides GPUs: the lines, and importing a file of them."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from billing.actions.other_costs import import_other_costs
from billing.queries.other_costs import list_other_costs
from billing.rules.other_costs import COLUMNS, OTHER_METHOD
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.other_costs import OtherCostsFileForm
from tenants.errors import ConsoleError
from tenants.rules.access import Permission

SHOWN = (*COLUMNS, "recorded_at", "recorded_by")


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Newest first."""
    rows = list_other_costs(request.viewer)
    if wants_file(request):
        return download(request, "other-costs", SHOWN, rows.values_list(*SHOWN).iterator())
    context = {
        "page": Paginator(rows, 50).get_page(request.GET.get("page")),
        "method": OTHER_METHOD,
        "may_manage": request.viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "economics/other.html", context)


@require_http_methods(["GET", "POST"])
def import_file(request: ViewerRequest) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_MONEY)
    form = OtherCostsFileForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        text = form.cleaned_data["csv"]
        try:
            done = import_other_costs(request.viewer, text, now=timezone.now())
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Lines: {done.new} new, {done.known} there already")
            return redirect("other_costs")
    status = 422 if form.errors else 200
    return render(request, "economics/other_import.html", {"form": form}, status=status)
