"""The numbers of the journal's accounts in general-ledger lines."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import ledger as actions
from billing.queries import ledger as queries
from tenants.api.base.pages import ListPages
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView


class LedgerAccountIn(Strict):
    number = TextField(max_length=32)
    name = TextField(max_length=120, required=False, default="", allow_blank=True)


class LedgerAccountOut(serializers.Serializer[Any]):
    account = serializers.CharField(help_text="Of the journal")
    title = serializers.CharField()
    number = serializers.CharField(allow_blank=True, help_text="Empty: none was given yet")
    name = serializers.CharField(allow_blank=True)
    version = serializers.IntegerField()


class LedgerAccountPages(ListPages):
    def key(self, row: Any) -> str:
        return str(row.account)


class LedgerAccountsView(ConsoleView):
    pagination_class = LedgerAccountPages

    @operation("ledger_accounts_list", gives=LedgerAccountOut(many=True))
    def get(self, request: Request) -> Response:
        return self.page(queries.list_ledger_accounts(self.viewer), LedgerAccountOut)


class LedgerAccountView(ConsoleView):
    @operation("ledger_accounts_get", gives=LedgerAccountOut)
    def get(self, request: Request, account: str) -> Response:
        found = queries.get_ledger_account(self.viewer, account)
        return self.answer(LedgerAccountOut(found).data, etag=found.etag)

    @operation("ledger_accounts_put", takes=LedgerAccountIn, gives=LedgerAccountOut, if_match=True)
    def put(self, request: Request, account: str) -> Response:
        """Give the account its number; the version is 0 before it has one."""
        given = self.given(LedgerAccountIn)
        found = actions.number_account(
            self.viewer, account, expected=self.expected_version(of=account), **given
        )
        return self.answer(LedgerAccountOut(found).data, etag=found.etag)
