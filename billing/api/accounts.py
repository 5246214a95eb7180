"""Billing accounts: read, set, their statement, and payments that came in."""

from decimal import Decimal
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import accounts as actions
from billing.queries import accounts as queries
from billing.queries.money import find_tenant
from billing.rules.accounts import LONGEST_TERMS, AccountTerms
from billing.rules.invoices import Tax
from tenants.api.base.pages import ListPages
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView


class AmountField(serializers.DecimalField):
    """Money or a rate as text: a JSON number would be read as a float somewhere on its way."""

    def __init__(self, **options: Any) -> None:
        super().__init__(24, 12, min_value=Decimal(0), **options)

    def to_internal_value(self, data: Any) -> Decimal:
        if not isinstance(data, str):
            raise serializers.ValidationError('A number as text, as in "0.15"')
        return super().to_internal_value(data)


class TaxIn(Strict):
    name = TextField(max_length=60)
    rate = AmountField(help_text="A part: 0.19 is 19 %")


class AccountIn(Strict):
    name = TextField(max_length=120)
    currency = TextField(max_length=3, help_text="Of its invoices")
    rate_source = TextField(
        max_length=64,
        allow_blank=True,
        required=False,
        default="",
        help_text="Whose exchange rates convert prices in another currency",
    )
    time_zone = TextField(max_length=64)
    purchase_order = TextField(max_length=64, allow_blank=True, required=False, default="")
    terms_days = CountField(min_value=0, max_value=LONGEST_TERMS)
    rounding = serializers.ChoiceField(("HALF_EVEN", "HALF_UP"))
    tax_per = serializers.ChoiceField(("line", "invoice"))
    taxes = TaxIn(many=True)


class TaxOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    rate = serializers.DecimalField(24, 12)


class AccountOut(serializers.Serializer[Any]):
    tenant = serializers.CharField()
    name = serializers.CharField()
    currency = serializers.CharField(help_text="Of its invoices")
    rated_in = serializers.CharField(help_text="The currency of its prices")
    rate_source = serializers.CharField(allow_blank=True)
    time_zone = serializers.CharField()
    purchase_order = serializers.CharField(allow_blank=True)
    terms_days = serializers.IntegerField()
    rounding = serializers.CharField()
    tax_per = serializers.CharField()
    taxes = TaxOut(many=True)
    version = serializers.IntegerField(help_text="0: the defaults of the tenant")


class EntryOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField(source="txn.at")
    kind = serializers.CharField(source="txn.kind")
    document = serializers.CharField(source="txn.document")
    currency = serializers.CharField()
    amount = serializers.DecimalField(38, 12, help_text="Below 0: paid or given back")
    balance = serializers.DecimalField(38, 12, help_text="Owed after it, in this currency")


class PaymentIn(Strict):
    amount = AmountField()
    currency = TextField(max_length=3)
    reference = TextField(max_length=64)


class PaymentOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    kind = serializers.CharField()
    document = serializers.CharField()
    at = serializers.DateTimeField()


class AccountPages(ListPages):
    def key(self, row: Any) -> str:
        return str(row.tenant)


class AccountsView(ConsoleView):
    pagination_class = AccountPages

    @operation("billing_accounts_list", gives=AccountOut(many=True))
    def get(self, request: Request) -> Response:
        """Every account of the viewer: one for each tenant, by its name."""
        return self.page(queries.list_accounts(self.viewer), AccountOut)


class AccountView(ConsoleView):
    @operation("billing_accounts_get", gives=AccountOut)
    def get(self, request: Request, slug: str) -> Response:
        found = queries.get_account(self.viewer, slug)
        return self.answer(AccountOut(found).data, etag=found.etag)

    @operation("billing_accounts_put", takes=AccountIn, gives=AccountOut, if_match=True)
    def put(self, request: Request, slug: str) -> Response:
        """Set how a tenant is billed, from its next invoice on."""
        given = self.given(AccountIn)
        given["taxes"] = tuple(Tax(**t) for t in given["taxes"])
        expected = self.expected_version(of=find_tenant(self.viewer, slug).id)
        found = actions.change_account(self.viewer, slug, AccountTerms(**given), expected=expected)
        return self.answer(AccountOut(found).data, etag=found.etag)


class StatementView(ConsoleView):
    @operation("billing_accounts_statement", gives=EntryOut(many=True))
    def get(self, request: Request, slug: str) -> Response:
        """What was billed, given back and paid, newest first, with the balance after each."""
        account = queries.get_account(self.viewer, slug)
        return self.page(queries.statement(self.viewer, account.tenant_id), EntryOut)


class PaymentsView(ConsoleView):
    @operation("billing_payments_create", takes=PaymentIn, gives=PaymentOut, status=201)
    def post(self, request: Request, slug: str) -> Response:
        """Write down a payment; its reference stands in the books once."""
        given = self.given(PaymentIn)
        txn = actions.record_payment(self.viewer, slug, now=timezone.now(), **given)
        return self.answer(PaymentOut(txn).data, status=201)
