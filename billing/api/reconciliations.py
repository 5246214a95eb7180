"""Checks of the books: what they found, and another one now."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import reconciliations as actions
from billing.queries import reconciliations as queries
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView


class ReconciliationRowOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    requested_by = serializers.CharField(allow_blank=True, help_text="Empty: once a day by itself")
    requested_at = serializers.DateTimeField()
    state = serializers.CharField(help_text="waiting, done")
    since = serializers.DateTimeField(help_text="Earlier hours were not looked at")
    finished_at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.FloatField()
    wrong = serializers.IntegerField(help_text="Sums that do not agree")


class SumOut(serializers.Serializer[Any]):
    sentence = serializers.CharField(help_text="What is compared")
    left = serializers.CharField(help_text="Exact")
    right = serializers.CharField(help_text="Exact")
    wrong = serializers.IntegerField(help_text="Hours, tenants or documents that differ")
    named = serializers.ListField(child=serializers.CharField(), help_text="The first of them")


class ReconciliationOut(ReconciliationRowOut):
    sums = SumOut(many=True)


class ReconciliationsView(ConsoleView):
    @operation("reconciliations_list", gives=ReconciliationRowOut(many=True))
    def get(self, request: Request) -> Response:
        """Newest first."""
        return self.page(queries.list_reconciliations(self.viewer), ReconciliationRowOut)

    @operation("reconciliations_create", gives=ReconciliationRowOut, status=202)
    def post(self, request: Request) -> Response:
        """Check the books now. While a check waits, it is that one."""
        found = actions.request_check(self.viewer, now=timezone.now())
        return self.answer(ReconciliationRowOut(found).data, status=202)


class ReconciliationView(ConsoleView):
    @operation("reconciliations_get", gives=ReconciliationOut)
    def get(self, request: Request, reconciliation_id: int) -> Response:
        """With every sum, and the first keys that differ in each."""
        found = queries.get_reconciliation(self.viewer, reconciliation_id)
        return self.answer(ReconciliationOut(found).data)
