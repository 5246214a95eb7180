"""Credits of an account: ask for one, and see what became of it."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from billing.actions import grants as actions
from billing.queries import grants as queries
from billing.queries.accounts import get_account
from billing.rules.grants import Scope
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.books import GrantForm
from tenants.errors import ConsoleError
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission

COLUMNS = ("id", "at", "kind", "amount", "left", "invoice__number", "line__position", "by")


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest, slug: str) -> HttpResponse:
    account = get_account(request.viewer, slug)
    request.viewer.require(Permission.MANAGE_MONEY, account.tenant_id)
    initial = {"currency": account.currency, "priority": 100}
    form = GrantForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        why, terms = form.cleaned_data["why"], form.terms()
        try:
            grant = actions.ask_for_grant(request.viewer, slug, terms, why=why, now=timezone.now())
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, "Asked for: it can be used once another person approves it")
            return redirect("credit_grant", grant_id=grant.pk)
    context = {"account": account, "form": form}
    return render(request, "grants/new.html", context, status=422 if form.errors else 200)


@require_GET
def show(request: ViewerRequest, grant_id: int) -> HttpResponse:
    """A credit with its history, newest entry first."""
    grant = queries.get_grant(request.viewer, grant_id)
    rows = queries.list_entries(request.viewer, grant)
    if wants_file(request):
        return download(request, f"credit-{grant_id}", COLUMNS, rows.values_list(*COLUMNS))
    context = {
        "grant": grant,
        "scope": Scope(grant.model, grant.meter),
        "tenant": tenant_refs([grant.tenant_id])[grant.tenant_id],
        "page": Paginator(rows, 50).get_page(request.GET.get("page")),
        "sees_changes": request.viewer.may(Permission.VIEW_FLEET),
    }
    return render(request, "grants/show.html", context)
