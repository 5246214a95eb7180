"""Exchange rates: which there are, record one, import a file."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from billing.actions import exchange as actions
from billing.queries import exchange as queries
from billing.rules.exchange import MOST_AGE
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.rates import RateForm, RatesFileForm
from tenants.errors import ConsoleError
from tenants.rules.access import Permission

COLUMNS = ("base", "quote", "on", "source", "rate", "recorded_at", "recorded_by")
NAMES = ("base", "quote", "date", "source", "rate", "recorded_at", "recorded_by")


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Newest day first. `base`, `quote` and `source` narrow it."""
    wanted = {name: request.GET.get(name, "").strip() for name in ("base", "quote", "source")}
    wanted |= {name: wanted[name].upper() for name in ("base", "quote")}
    rows = queries.list_rates(request.viewer, **wanted)
    if wants_file(request):
        values = rows.values_list(*COLUMNS).iterator()
        return download(request, "exchange-rates", NAMES, values)
    context = {
        "page": Paginator(rows, 50).get_page(request.GET.get("page")),
        "wanted": wanted,
        "is_narrow": any(wanted.values()),
        "days": MOST_AGE.days,
        "may_manage": request.viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "rates/index.html", context)


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_MONEY)
    form = RateForm(request.POST or None, initial={"date": timezone.now().date()})
    if request.method == "POST" and form.is_valid():
        given = form.recorded()
        try:
            done = actions.record_rate(request.viewer, given, now=timezone.now())
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            pair = f"{given.base}/{given.quote} of {given.on}"
            said = f"{pair} is recorded" if done.new else f"{pair} had this rate already"
            messages.success(request, said)
            return redirect("exchange_rates")
    return render(request, "rates/new.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def import_file(request: ViewerRequest) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_MONEY)
    form = RatesFileForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        text = form.cleaned_data["csv"]
        try:
            done = actions.import_rates(request.viewer, text, now=timezone.now())
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            said = f"Rates: {done.new} new, {done.corrected} of them in place of another one"
            messages.success(request, f"{said}; {done.known} there already")
            return redirect("exchange_rates")
    return render(request, "rates/import.html", {"form": form}, status=422 if form.errors else 200)
