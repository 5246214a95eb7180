"""Billing periods: read them with their checks, close them, bill them."""

from typing import Any

from django.conf import settings
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import invoices as invoice_actions
from billing.actions import periods as actions
from billing.api.filters import tenant_id_of
from billing.api.invoices import InvoiceRowOut
from billing.queries import billed, periods
from billing.rules.periods import SIGNABLE
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView, Pages
from tenants.rules.access import Permission


class PeriodFilters(serializers.Serializer[Any]):
    tenant = serializers.SlugField(required=False, max_length=63)
    state = serializers.ChoiceField(periods.STATES, required=False)


class ReasonIn(Strict):
    why = TextField(max_length=2000)


class SignOffIn(ReasonIn):
    check = serializers.ChoiceField(sorted(c.value for c in SIGNABLE))


class PeriodRowOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    tenant_id = serializers.IntegerField()
    name = serializers.CharField()
    state = serializers.CharField(help_text="open, closing, closed")
    time_zone = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    cut_off = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)
    closed_by = serializers.CharField(allow_blank=True)
    change_id = serializers.IntegerField(allow_null=True, help_text="Waits to be opened again")


class SignedOut(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    by = serializers.CharField()
    why = serializers.CharField()
    at = serializers.DateTimeField()


class CheckOut(serializers.Serializer[Any]):
    key = serializers.CharField()
    title = serializers.CharField()
    number = serializers.IntegerField(help_text="0: nothing stands in the way")
    said = serializers.CharField()
    way_out = serializers.CharField()
    is_green = serializers.BooleanField()
    may_sign = serializers.BooleanField()
    signed = SignedOut(allow_null=True)


class BilledOut(serializers.Serializer[Any]):
    currency = serializers.CharField()
    corrects = serializers.BooleanField(help_text="Usage of earlier, closed periods")
    amount = serializers.DecimalField(38, 12)
    charges = serializers.IntegerField()
    since_cut_off = serializers.DecimalField(
        38, 12, help_text="Of the amount, what was rated after the cut-off"
    )


class PeriodOut(PeriodRowOut):
    billed = BilledOut(many=True)
    checks = CheckOut(many=True, help_text="Empty for a tenant's own people, and once closed")


class PeriodPages(Pages):
    ordering = ("-starts_at", "-id")


class PeriodsView(ConsoleView):
    pagination_class = PeriodPages

    @operation("billing_periods_list", gives=PeriodRowOut(many=True), filters=PeriodFilters)
    def get(self, request: Request) -> Response:
        """Newest first."""
        given = self.filters(PeriodFilters)
        tenant = given.get("tenant")
        rows = periods.list_periods(
            self.viewer,
            tenant_id=tenant_id_of(tenant) if tenant else None,
            state=given.get("state", ""),
        )
        return self.page(rows, PeriodRowOut)


class PeriodView(ConsoleView):
    @operation("billing_periods_get", gives=PeriodOut)
    def get(self, request: Request, period_id: int) -> Response:
        """With what is billed in it, and what must be green before it closes."""
        return shown(self, periods.get_period(self.viewer, period_id))


class StartClosingView(ConsoleView):
    @operation("billing_periods_start_closing", gives=PeriodOut)
    def post(self, request: Request, period_id: int) -> Response:
        """Take the cut-off. What comes until the close is of the period and told apart."""
        return shown(self, actions.start_closing(self.viewer, period_id, now=timezone.now()))


class StopClosingView(ConsoleView):
    @operation("billing_periods_stop_closing", takes=ReasonIn, gives=PeriodOut)
    def post(self, request: Request, period_id: int) -> Response:
        why = self.given(ReasonIn)["why"]
        now = timezone.now()
        return shown(self, actions.stop_closing(self.viewer, period_id, why=why, now=now))


class SignOffView(ConsoleView):
    @operation("billing_periods_sign_off", takes=SignOffIn, gives=PeriodOut)
    def post(self, request: Request, period_id: int) -> Response:
        """Take upon oneself what stands in the way now, with a reason."""
        given = self.given(SignOffIn)
        actions.sign_off(
            self.viewer,
            period_id,
            key=given["check"],
            why=given["why"],
            now=timezone.now(),
            grace=settings.QM_CLOSE_GRACE,
        )
        return shown(self, periods.get_period(self.viewer, period_id))


class CloseView(ConsoleView):
    @operation("billing_periods_close", gives=PeriodOut)
    def post(self, request: Request, period_id: int) -> Response:
        """Close the books. Refused with the numbers while a check is not green."""
        now, grace = timezone.now(), settings.QM_CLOSE_GRACE
        return shown(self, actions.close(self.viewer, period_id, now=now, grace=grace))


class ReopenView(ConsoleView):
    @operation("billing_periods_ask_to_reopen", takes=ReasonIn, gives=PeriodOut, status=202)
    def post(self, request: Request, period_id: int) -> Response:
        """Ask another person to open a closed period again; see `change_id`."""
        period = actions.ask_to_reopen(self.viewer, period_id, **self.given(ReasonIn))
        return shown(self, period, 202)


class IssueView(ConsoleView):
    @operation("billing_periods_issue", gives=InvoiceRowOut(many=True), status=201)
    def post(self, request: Request, period_id: int) -> Response:
        """Bill what a closed period has and no invoice has: one invoice for each currency."""
        found = invoice_actions.issue_invoices(self.viewer, period_id, now=timezone.now())
        return self.answer(InvoiceRowOut(found, many=True).data, status=201)


def shown(view: ConsoleView, period: Any, status: int = 200) -> Response:
    totals = billed.billed_totals(period)
    checks = []
    if view.viewer.may(Permission.VIEW_MONEY) and period.state != "closed":
        checks = periods.period_checks(
            view.viewer, period, now=timezone.now(), grace=settings.QM_CLOSE_GRACE
        )
    found = PeriodRowOut(period).data
    found["billed"] = BilledOut(totals, many=True).data
    found["checks"] = CheckOut(checks, many=True).data
    return view.answer(found, status=status)
