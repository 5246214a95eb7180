"""Alerts of budgets (settings, what was reached) and odd days."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import alerts as actions
from billing.api.filters import tenant_id_of
from billing.api.invoices import TenantFilter
from billing.queries import alerts, anomalies
from billing.queries.budgets import tenant_budgets
from billing.queries.money import find_tenant
from billing.rules.alerts import COMMITMENT, LARGEST_THRESHOLD
from tenants.api.base.pages import ListPages
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView, Pages
from tenants.rules.quotas import BudgetKind


class AlertSettingsIn(Strict):
    thresholds = serializers.ListField(
        child=CountField(min_value=1, max_value=LARGEST_THRESHOLD), help_text="Percents"
    )
    mails = serializers.ListField(child=TextField(max_length=254))


class AlertSettingsOut(serializers.Serializer[Any]):
    thresholds = serializers.ListField(child=serializers.IntegerField())
    mails = serializers.ListField(child=serializers.CharField())
    mail_works = serializers.BooleanField(help_text="A mail server is set")
    version = serializers.IntegerField(help_text="0: defaults, nobody chose")


class AlertOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    tenant_id = serializers.IntegerField()
    series = serializers.IntegerField(
        help_text="Of the quota that is the budget; of a minimum, the contract's version"
    )
    kind = serializers.ChoiceField(
        [*(k.value for k in BudgetKind), COMMITMENT],
        help_text="What the budget counts; commitment: the minimum of a contract ends",
    )
    period = serializers.CharField()
    threshold = serializers.IntegerField(help_text="Percent; days before a minimum ends")
    spent = serializers.DecimalField(38, 12, help_text="Money, or tokens")
    budget = serializers.DecimalField(38, 12)
    currency = serializers.CharField(allow_blank=True, help_text="Empty: tokens")
    event_id = serializers.IntegerField(help_text="What told of it")
    at = serializers.DateTimeField()


class AnomalyOut(serializers.Serializer[Any]):
    tenant_id = serializers.IntegerField()
    day = serializers.DateField(help_text="UTC")
    model = serializers.CharField()
    currency = serializers.CharField()
    amount = serializers.DecimalField(38, 12)
    usual = serializers.DecimalField(38, 12, help_text="Median of the same weekday before")
    low = serializers.DecimalField(38, 12, help_text="What would have been ordinary")
    high = serializers.DecimalField(38, 12)
    found_at = serializers.DateTimeField()


class BudgetOut(serializers.Serializer[Any]):
    series = serializers.IntegerField(source="use.ref.series", help_text="Of its quota")
    application = serializers.CharField(allow_blank=True, help_text="Empty: the whole tenant")
    model = serializers.CharField(allow_blank=True, help_text="Empty: all models together")
    kind = serializers.ChoiceField([k.value for k in BudgetKind], source="use.ref.kind")
    month = serializers.CharField(source="use.month.name")
    ends_at = serializers.DateTimeField(source="use.month.ends_at")
    limit = serializers.DecimalField(24, 6, source="use.limit", help_text="Money, or tokens")
    spent = serializers.DecimalField(24, 6, source="use.spent", help_text="By the ledger")
    expected = serializers.DecimalField(
        24, 6, source="ahead.amount", default=None, allow_null=True,
        help_text="At the month's end; null: not known yet",
    )  # fmt: skip
    expected_low = serializers.DecimalField(
        24, 6, source="ahead.low", default=None, allow_null=True,
        help_text="Four of five outcomes lie between",
    )  # fmt: skip
    expected_high = serializers.DecimalField(
        24, 6, source="ahead.high", default=None, allow_null=True
    )
    runs_out = serializers.DateField(
        source="ahead.runs_out", default=None, allow_null=True,
        help_text="The day on which it is expected to be used up; null: not this month, or it is",
    )  # fmt: skip


class AnomalyPages(Pages):
    ordering = ("-day", "-id")


class BudgetPages(ListPages):
    def key(self, row: Any) -> str:
        return f"{row.application} {row.model} {row.use.ref.series} {row.use.ref.kind.value}"


class BudgetsView(ConsoleView):
    pagination_class = BudgetPages

    @operation("tenant_budgets_list", gives=BudgetOut(many=True))
    def get(self, request: Request, slug: str) -> Response:
        """Each budget of money and of tokens that holds now, and what is used of it this month."""
        tenant = find_tenant(self.viewer, slug)
        return self.page(tenant_budgets(self.viewer, tenant, now=timezone.now()), BudgetOut)


class AlertSettingsView(ConsoleView):
    @operation("budget_alert_settings_get", gives=AlertSettingsOut)
    def get(self, request: Request, slug: str) -> Response:
        tenant = find_tenant(self.viewer, slug)
        found = alerts.get_settings(self.viewer, tenant.id)
        return self.answer(AlertSettingsOut(found).data, etag=found.etag)

    @operation(
        "budget_alert_settings_put", takes=AlertSettingsIn, gives=AlertSettingsOut, if_match=True
    )
    def put(self, request: Request, slug: str) -> Response:
        """From which percents of a budget on whom to tell by mail."""
        given = self.given(AlertSettingsIn)
        expected = self.expected_version(of=find_tenant(self.viewer, slug).id)
        found = actions.change_settings(self.viewer, slug, expected=expected, **given)
        return self.answer(AlertSettingsOut(found).data, etag=found.etag)


class AlertsView(ConsoleView):
    @operation("budget_alerts_list", gives=AlertOut(many=True), filters=TenantFilter)
    def get(self, request: Request) -> Response:
        """Thresholds that were reached, newest first."""
        tenant = self.filters(TenantFilter).get("tenant")
        tenant_id = tenant_id_of(tenant) if tenant else None
        return self.page(alerts.list_alerts(self.viewer, tenant_id=tenant_id), AlertOut)


class AnomaliesView(ConsoleView):
    pagination_class = AnomalyPages

    @operation("spend_anomalies_list", gives=AnomalyOut(many=True), filters=TenantFilter)
    def get(self, request: Request) -> Response:
        """Days on which a service of a tenant cost more or less than is usual, newest first."""
        tenant = self.filters(TenantFilter).get("tenant")
        tenant_id = tenant_id_of(tenant) if tenant else None
        return self.page(anomalies.list_anomalies(self.viewer, tenant_id=tenant_id), AnomalyOut)
