"""The double-entry journal: legs, transactions, trial balance."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import tenant_id_of
from billing.queries import journal as queries
from billing.queries.journal import JournalFilter
from billing.rules.journal import ACCOUNTS, KINDS
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView
from tenants.errors import Invalid


class BalanceFilters(serializers.Serializer[Any]):
    """Half open: `since` belongs to it, `until` does not. Default: everything."""

    tenant = serializers.SlugField(required=False, max_length=63)
    kind = serializers.ChoiceField(tuple(KINDS), required=False)
    document = serializers.CharField(required=False, max_length=64)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


class LegFilters(BalanceFilters):
    account = serializers.ChoiceField(ACCOUNTS, required=False)


def read_journal(given: dict[str, Any]) -> JournalFilter:
    tenant = given.pop("tenant", "")
    start, end = given.pop("since", None), given.pop("until", None)
    if start and end and not start < end:
        raise Invalid(since="The range ends after it starts")
    tenant_id = tenant_id_of(tenant) if tenant else None
    return JournalFilter(tenant_id=tenant_id, start=start, end=end, **given)


class LegOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    tenant_id = serializers.IntegerField()
    account = serializers.CharField()
    currency = serializers.CharField()
    amount = serializers.DecimalField(38, 12, help_text="Above 0: debit. Below: credit")


class TxnFields(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text=", ".join(KINDS))
    document = serializers.CharField(help_text="Its number, or the payer's reference")
    invoice = serializers.SerializerMethodField(help_text="Number; empty: it is of none")
    credit_note = serializers.SerializerMethodField(help_text="Number; empty: it is of none")
    at = serializers.DateTimeField()
    by = serializers.CharField()
    key = serializers.CharField(help_text="Makes a repeat the same transaction")

    def get_invoice(self, txn: Any) -> str:
        return queries.invoice_of(txn)

    def get_credit_note(self, txn: Any) -> str:
        return queries.credit_note_of(txn)


class TxnOut(TxnFields):
    id = serializers.IntegerField()
    tenant_id = serializers.IntegerField()
    legs = LegOut(many=True)


class JournalLegOut(LegOut):
    transaction_id = serializers.IntegerField(source="txn_id")
    transaction = TxnFields(source="txn")


class TrialLineOut(serializers.Serializer[Any]):
    currency = serializers.CharField()
    account = serializers.CharField(allow_blank=True, help_text="Empty: all of them")
    debit = serializers.DecimalField(38, 12)
    credit = serializers.DecimalField(38, 12)
    balance = serializers.DecimalField(38, 12, help_text="Debit less credit")


class TrialBalanceOut(serializers.Serializer[Any]):
    holds = serializers.BooleanField(help_text="The balance of each currency is 0")
    totals = TrialLineOut(many=True)
    lines = TrialLineOut(many=True)


class JournalView(ConsoleView):
    @operation("journal_list", gives=JournalLegOut(many=True), filters=LegFilters)
    def get(self, request: Request) -> Response:
        """Legs, newest first, each with its transaction."""
        wanted = read_journal(self.filters(LegFilters))
        return self.page(queries.list_legs(self.viewer, wanted), JournalLegOut)


class JournalTxnView(ConsoleView):
    @operation("journal_get", gives=TxnOut)
    def get(self, request: Request, txn_id: int) -> Response:
        """A transaction with all its legs, which add up to zero."""
        return self.answer(TxnOut(queries.get_txn(self.viewer, txn_id)).data)


class TrialBalanceView(ConsoleView):
    @operation("journal_trial_balance", gives=TrialBalanceOut, filters=BalanceFilters)
    def get(self, request: Request) -> Response:
        """Debit and credit of each account, of whole transactions."""
        found = queries.trial_balance(self.viewer, read_journal(self.filters(BalanceFilters)))
        totals = list(found.totals.values())
        shown = {"holds": found.holds, "totals": totals, "lines": found.lines}
        return self.answer(TrialBalanceOut(shown).data)
