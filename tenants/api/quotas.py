"""Quotas: current ones, their versions, and changing them."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.actions import quotas as actions
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView
from tenants.queries import quotas as queries
from tenants.queries import tenants
from tenants.rules.quotas import Limits


class MoneyField(serializers.DecimalField):
    """An amount as text: a JSON number would be read as a float somewhere on its way."""

    def to_internal_value(self, data: Any) -> Decimal:
        if not isinstance(data, str):
            raise serializers.ValidationError('An amount as text, as in "1500.00"')
        return super().to_internal_value(data)


class QuotaOut(serializers.Serializer[Any]):
    series = serializers.IntegerField()
    version = serializers.IntegerField()
    tenant = serializers.SlugField(source="tenant.slug")
    application = serializers.SlugField(source="application.slug", default=None, allow_null=True)
    model = serializers.CharField(allow_blank=True, help_text="Empty: all models together")
    requests_per_minute = serializers.IntegerField(allow_null=True)
    tokens_per_minute = serializers.IntegerField(allow_null=True)
    concurrency = serializers.IntegerField(allow_null=True)
    monthly_budget = serializers.DecimalField(18, 6, allow_null=True)
    monthly_input_tokens = serializers.IntegerField(allow_null=True)
    monthly_output_tokens = serializers.IntegerField(allow_null=True)
    monthly_tokens = serializers.IntegerField(
        allow_null=True, help_text="Input and output together"
    )
    valid_from = serializers.DateTimeField()
    superseded_at = serializers.DateTimeField(allow_null=True)


class LimitsIn(Strict):
    """All limits at once: one that is left out has no opinion from now on."""

    requests_per_minute = CountField(required=False, default=None, allow_null=True)
    tokens_per_minute = CountField(required=False, default=None, allow_null=True)
    concurrency = CountField(required=False, default=None, allow_null=True)
    monthly_budget = MoneyField(18, 6, required=False, default=None, allow_null=True)
    monthly_input_tokens = CountField(required=False, default=None, allow_null=True)
    monthly_output_tokens = CountField(required=False, default=None, allow_null=True)
    monthly_tokens = CountField(required=False, default=None, allow_null=True)
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class QuotaIn(LimitsIn):
    application = TextField(required=False, default="", allow_blank=True)
    model = TextField(required=False, default="", allow_blank=True)


class QuotasView(ConsoleView):
    @operation("quotas_list", gives=QuotaOut(many=True))
    def get(self, request: Request) -> Response:
        return self.page(queries.list_quotas(self.viewer), QuotaOut)


class TenantQuotasView(ConsoleView):
    @operation("tenant_quotas_list", gives=QuotaOut(many=True))
    def get(self, request: Request, slug: str) -> Response:
        tenant = tenants.get_tenant(self.viewer, slug)
        return self.page(queries.list_quotas(self.viewer, tenant=tenant), QuotaOut)

    @operation("quotas_create", takes=QuotaIn, gives=QuotaOut, status=201)
    def post(self, request: Request, slug: str) -> Response:
        """Set limits where none hold yet; change others by PUT on their series."""
        given = self.given(QuotaIn)
        target = actions.Target(slug, given.pop("application"), given.pop("model"))
        why = given.pop("why")
        quota = actions.set_quota(self.viewer, target, limits=Limits(**given), expected=0, why=why)
        return answered(self, quota, 201)


class QuotaView(ConsoleView):
    @operation("quotas_get", gives=QuotaOut)
    def get(self, request: Request, series: int) -> Response:
        return answered(self, queries.get_quota(self.viewer, series))

    @operation("quotas_put", takes=LimitsIn, gives=QuotaOut, if_match=True)
    def put(self, request: Request, series: int) -> Response:
        given = self.given(LimitsIn)
        why = given.pop("why")
        quota = queries.get_quota(self.viewer, series)
        application = quota.application.slug if quota.application else ""
        target = actions.Target(quota.tenant.slug, application, quota.model)
        new = actions.set_quota(
            self.viewer,
            target,
            limits=Limits(**given),
            expected=self.expected_version(of=series),
            why=why,
        )
        return answered(self, new)

    @operation("quotas_delete", status=204, if_match=True)
    def delete(self, request: Request, series: int) -> Response:
        actions.clear_quota(self.viewer, series, expected=self.expected_version(of=series))
        return self.answer()


class QuotaVersionsView(ConsoleView):
    @operation("quota_versions_list", gives=QuotaOut(many=True))
    def get(self, request: Request, series: int) -> Response:
        queries.get_quota(self.viewer, series)
        return self.page(queries.quota_history(self.viewer, series), QuotaOut)


def answered(view: ConsoleView, quota: Any, status: int = 200) -> Response:
    etag = f'"{quota.series}-{quota.version}"'
    return view.answer(QuotaOut(quota).data, etag=etag, status=status)
