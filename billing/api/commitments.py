"""Minima of contracts: used, unused, when they end."""

from datetime import UTC
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import tenant_id_of
from billing.api.invoices import TenantFilter
from billing.queries.commitments import list_commitments
from tenants.api.base.pages import ListPages
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView


class CommitmentOut(serializers.Serializer[Any]):
    tenant = serializers.SlugField(source="minimum.tenant.slug")
    contract = serializers.SlugField(source="minimum.book")
    version = serializers.IntegerField(source="minimum.number")
    currency = serializers.CharField(source="minimum.currency")
    month = serializers.CharField(source="minimum.month")
    starts_at = serializers.DateTimeField(source="minimum.starts_at")
    ends_at = serializers.DateTimeField(
        source="minimum.ends_at", help_text="Of the part of the month for which the version holds"
    )
    is_over = serializers.BooleanField(source="minimum.is_over")
    amount = serializers.DecimalField(38, 12, source="minimum.amount", help_text="The minimum")
    used = serializers.DecimalField(38, 12, help_text="Charges of use, waiting ones too")
    unused = serializers.DecimalField(38, 12)
    charged = serializers.DecimalField(38, 12, help_text="For what was unused, after the month")
    contract_ends_at = serializers.DateTimeField(
        source="minimum.contract_ends_at", allow_null=True, help_text="Null: no end is known"
    )
    days_left = serializers.IntegerField(allow_null=True, help_text="Until contract_ends_at")


class CommitmentPages(ListPages):
    is_descending = True

    def key(self, row: Any) -> str:
        at = row.minimum.starts_at.astimezone(UTC)
        return f"{at:%Y-%m-%dT%H:%M} {row.minimum.tenant.slug} {row.minimum.version_id}"


class CommitmentsView(ConsoleView):
    pagination_class = CommitmentPages

    @operation("commitments_list", gives=CommitmentOut(many=True), filters=TenantFilter)
    def get(self, request: Request) -> Response:
        """Each month of the last year in which a contract has a minimum, newest first."""
        tenant = self.filters(TenantFilter).get("tenant")
        tenant_id = tenant_id_of(tenant) if tenant else None
        found = list_commitments(self.viewer, now=timezone.now(), tenant_id=tenant_id)
        return self.page(found, CommitmentOut)
