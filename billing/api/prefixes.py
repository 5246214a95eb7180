"""Reports of kept prefixes, one by one."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import RangeFilters, charge_filter
from billing.queries.prefixes import list_reports
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView, Pages


class PrefixFilters(RangeFilters):
    tenant = serializers.SlugField(required=False, max_length=63)
    application = serializers.SlugField(required=False, max_length=63)
    model = serializers.CharField(required=False, max_length=128)


class PrefixReportOut(serializers.Serializer[Any]):
    report_id = serializers.UUIDField()
    source_id = serializers.IntegerField(help_text="That reported it")
    tenant_id = serializers.IntegerField()
    application_id = serializers.IntegerField()
    model = serializers.CharField(help_text="Whose prefixes were kept")
    gib_hours = serializers.DecimalField(38, 6)
    started_at = serializers.DateTimeField(help_text="Decides its hour")
    ended_at = serializers.DateTimeField()
    stored_at = serializers.DateTimeField()


class PrefixPages(Pages):
    ordering = ("-started_at", "-id")


class PrefixReportsView(ConsoleView):
    pagination_class = PrefixPages

    @operation("usage_prefixes_list", gives=PrefixReportOut(many=True), filters=PrefixFilters)
    def get(self, request: Request) -> Response:
        """What stores of prefixes kept for tenants, newest first."""
        wanted = charge_filter(self.filters(PrefixFilters))
        return self.page(list_reports(self.viewer, wanted), PrefixReportOut)
