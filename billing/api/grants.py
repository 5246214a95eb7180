"""Credits: grant them to an account, see what is left of each and what it paid for."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import grants as actions
from billing.api.accounts import AmountField
from billing.api.filters import tenant_id_of
from billing.queries import grants
from billing.rules.grants import LAST_PRIORITY, GrantTerms, Scope
from billing.rules.meters import Meter
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView


class CreditFilters(serializers.Serializer[Any]):
    tenant = serializers.SlugField(required=False, max_length=63)
    state = serializers.ChoiceField(grants.STATES, required=False)


class GrantIn(Strict):
    name = TextField(max_length=120, help_text="Stands on the invoice")
    amount = AmountField()
    currency = TextField(max_length=3)
    paid = serializers.BooleanField(help_text="Prepaid; false: a promotion")
    reference = TextField(
        max_length=64, required=False, default="", allow_blank=True, help_text="Of the payment"
    )
    priority = CountField(
        min_value=1, max_value=LAST_PRIORITY, required=False, default=100, help_text="1 is first"
    )
    model = TextField(max_length=128, required=False, default="", allow_blank=True)
    meter = serializers.ChoiceField(
        [m.value for m in Meter], required=False, default="", allow_blank=True
    )
    expires_at = serializers.DateTimeField(required=False, default=None, allow_null=True)
    why = TextField(max_length=2000)


class GrantRowOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    tenant_id = serializers.IntegerField()
    name = serializers.CharField()
    state = serializers.CharField(help_text="waiting, active, refused, expired")
    paid = serializers.BooleanField()
    amount = serializers.DecimalField(38, 12)
    rest = serializers.DecimalField(38, 12, help_text="What is left of it")
    currency = serializers.CharField()
    reference = serializers.CharField(allow_blank=True)
    priority = serializers.IntegerField()
    model = serializers.CharField(allow_blank=True, help_text="Empty: every service")
    meter = serializers.CharField(allow_blank=True, help_text="Empty: every meter")
    expires_at = serializers.DateTimeField(allow_null=True)
    why = serializers.CharField()
    asked_by = serializers.CharField()
    asked_at = serializers.DateTimeField()
    change_id = serializers.IntegerField(allow_null=True, help_text="The change to decide")
    decided_by = serializers.CharField(allow_blank=True)


class CreditEntryOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    kind = serializers.CharField(help_text="granted, used, undone, expired")
    amount = serializers.DecimalField(38, 12)
    left = serializers.DecimalField(38, 12, help_text="After it")
    invoice = serializers.CharField(source="invoice.number", default=None, allow_null=True)
    line = serializers.IntegerField(source="line.position", default=None, allow_null=True)
    credit_note = serializers.CharField(
        source="note.number", default=None, allow_null=True, help_text="That gave it back"
    )
    at = serializers.DateTimeField()
    by = serializers.CharField()


class CreditsView(ConsoleView):
    @operation("credits_list", gives=GrantRowOut(many=True), filters=CreditFilters)
    def get(self, request: Request) -> Response:
        """Newest first."""
        given = self.filters(CreditFilters)
        tenant = given.get("tenant")
        tenant_id = tenant_id_of(tenant) if tenant else None
        state = given.get("state", "")
        rows = grants.list_grants(self.viewer, tenant_id=tenant_id, state=state)
        return self.page(rows, GrantRowOut)


class CreditView(ConsoleView):
    @operation("credits_get", gives=GrantRowOut)
    def get(self, request: Request, credit_id: int) -> Response:
        return self.answer(GrantRowOut(grants.get_grant(self.viewer, credit_id)).data)


class CreditEntriesView(ConsoleView):
    @operation("credits_entries", gives=CreditEntryOut(many=True))
    def get(self, request: Request, credit_id: int) -> Response:
        """What was granted, what each invoice used, what expired; with what was left after it."""
        grant = grants.get_grant(self.viewer, credit_id)
        return self.page(grants.list_entries(self.viewer, grant), CreditEntryOut)


class AccountCreditsView(ConsoleView):
    @operation("credits_create", takes=GrantIn, gives=GrantRowOut, status=201)
    def post(self, request: Request, slug: str) -> Response:
        """Ask another person to grant a credit; it can be used once that is approved."""
        given = self.given(GrantIn)
        why = given.pop("why")
        scope = Scope(given.pop("model"), given.pop("meter"))
        terms = GrantTerms(scope=scope, **given)
        now = timezone.now()
        row = actions.ask_for_grant(self.viewer, slug, terms, why=why, now=now)
        return self.answer(GrantRowOut(grants.get_grant(self.viewer, row.pk)).data, status=201)
