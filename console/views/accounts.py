"""Billing accounts: how each tenant is billed, what it owes, and how it came to that."""

from dataclasses import fields
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from billing.actions import accounts as actions
from billing.queries import accounts as queries
from billing.queries import grants
from billing.rules.accounts import AccountTerms
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.books import AccountForm, PaymentForm, taxes_text
from tenants.errors import ConsoleError
from tenants.rules.access import Permission

MOST_CREDITS = 50  # newest first; all of them are in the API
COLUMNS = ("txn__at", "txn__kind", "txn__document", "currency", "amount", "balance")


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """All accounts of the viewer, with what each owes."""
    owed = queries.balances(request.viewer)
    rows = [(a, list(owed.get(a.tenant_id, {}).items())) for a in account_rows(request)]
    if wants_file(request):
        names = ("tenant", "name", "currency", "time_zone", "purchase_order", "terms_days", "owes")
        values = (
            (a.tenant, a.name, a.currency, a.time_zone, a.purchase_order, a.terms_days, said(sums))
            for a, sums in rows
        )
        return download(request, "billing-accounts", names, values)
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    return render(request, "accounts/index.html", {"page": page, "count": len(rows)})


def account_rows(request: ViewerRequest) -> list[queries.Account]:
    return queries.list_accounts(request.viewer)


def said(sums: list[tuple[str, Decimal]]) -> str:
    return " ".join(f"{amount:f} {currency}" for currency, amount in sums)


@require_GET
def show(request: ViewerRequest, slug: str) -> HttpResponse:
    """The account and its statement, newest entry first."""
    account = queries.get_account(request.viewer, slug)
    rows = queries.statement(request.viewer, account.tenant_id)
    if wants_file(request):
        return download(request, f"statement-{slug}", COLUMNS, rows.values_list(*COLUMNS))
    context: dict[str, Any] = {
        "account": account,
        "owed": list(queries.balances(request.viewer).get(account.tenant_id, {}).items()),
        "page": Paginator(rows, 50).get_page(request.GET.get("page")),
        "credits": grants.list_grants(request.viewer, tenant_id=account.tenant_id)[:MOST_CREDITS],
        "left": list(grants.left_of(request.viewer, account.tenant_id).items()),
        "may_manage": request.viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "accounts/show.html", context)


@require_http_methods(["GET", "POST"])
def edit(request: ViewerRequest, slug: str) -> HttpResponse:
    account = queries.get_account(request.viewer, slug)
    request.viewer.require(Permission.MANAGE_MONEY, account.tenant_id)
    names = (*(f.name for f in fields(AccountTerms)), "version")
    initial = {name: getattr(account, name) for name in names}
    initial["taxes"] = taxes_text(account.taxes)
    form = AccountForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        given = dict(form.cleaned_data)
        try:
            expected = given.pop("version")
            actions.change_account(request.viewer, slug, AccountTerms(**given), expected=expected)
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{slug} is billed by these terms from its next invoice on")
            return redirect("billing_account", slug=slug)
    context = {"account": account, "form": form}
    return render(request, "accounts/edit.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def pay(request: ViewerRequest, slug: str) -> HttpResponse:
    """Write down that a payment came in."""
    account = queries.get_account(request.viewer, slug)
    request.viewer.require(Permission.MANAGE_MONEY, account.tenant_id)
    form = PaymentForm(request.POST or None, initial={"currency": account.currency})
    if request.method == "POST" and form.is_valid():
        try:
            actions.record_payment(request.viewer, slug, now=timezone.now(), **form.cleaned_data)
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"The payment {form.cleaned_data['reference']} is booked")
            return redirect("billing_account", slug=slug)
    context = {"account": account, "form": form}
    return render(request, "accounts/pay.html", context, status=422 if form.errors else 200)
