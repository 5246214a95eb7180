"""The numbers of the journal's accounts in general-ledger lines."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from billing.actions import ledger as actions
from billing.queries import ledger as queries
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.exports import LedgerAccountForm
from tenants.errors import Invalid
from tenants.rules.access import Permission

COLUMNS = ("account", "title", "number", "name")


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    if wants_file(request):
        found = queries.list_ledger_accounts(request.viewer)
        cells = ((a.account, a.title, a.number, a.name) for a in found)
        return download(request, "ledger-accounts", COLUMNS, cells)
    return page(request, {}, 200)


def page(request: ViewerRequest, bound: dict[str, LedgerAccountForm], status: int) -> HttpResponse:
    found = queries.list_ledger_accounts(request.viewer)
    context = {
        "accounts": [(a, bound.get(a.account) or form_of(a)) for a in found],
        "may_edit": request.viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "exports/ledger.html", context, status=status)


def form_of(account: queries.Numbered) -> LedgerAccountForm:
    given = {"number": account.number, "name": account.name, "version": account.version}
    return LedgerAccountForm(initial=given, prefix=account.account)


@require_POST
def number(request: ViewerRequest, account: str) -> HttpResponse:
    form = LedgerAccountForm(request.POST, prefix=account)
    if form.is_valid():
        given = form.cleaned_data
        try:
            actions.number_account(
                request.viewer, account, number=given["number"], name=given["name"],
                expected=given["version"],
            )  # fmt: skip
        except Invalid as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{account} is {given['number']} in the ledger")
            return redirect("ledger_accounts")
    return page(request, {account: form}, 422)
