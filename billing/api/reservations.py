"""GPUs that are kept for tenants."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import reservations as actions
from billing.api.filters import tenant_id_of
from billing.api.invoices import TenantFilter
from billing.queries import reservations as queries
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView


class ReservationIn(Strict):
    tenant = serializers.SlugField(max_length=63)
    product = TextField(max_length=120)
    gpus = serializers.IntegerField(min_value=1)
    cluster = TextField(required=False, default="", allow_blank=True, max_length=63)
    node_pool = TextField(required=False, default="", allow_blank=True, max_length=63)
    starts_at = serializers.DateTimeField(help_text="A full hour; the past is attributed again")
    ends_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    why = TextField(max_length=2000)


class ReservationEndIn(Strict):
    ends_at = serializers.DateTimeField(help_text="A full hour, the next one at the earliest")
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class ReservationOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    tenant_id = serializers.IntegerField()
    product = serializers.CharField()
    cluster = serializers.CharField(allow_blank=True, help_text="Empty: any")
    node_pool = serializers.CharField(allow_blank=True, help_text="Empty: any")
    gpus = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(allow_null=True)
    why = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()


class ReservationsView(ConsoleView):
    @operation("gpu_reservations_list", gives=ReservationOut(many=True), filters=TenantFilter)
    def get(self, request: Request) -> Response:
        """Newest first; a tenant's people see their own."""
        tenant = self.filters(TenantFilter).get("tenant")
        tenant_id = tenant_id_of(tenant) if tenant else None
        return self.page(queries.list_reservations(self.viewer, tenant_id), ReservationOut)

    @operation("gpu_reservations_create", takes=ReservationIn, gives=ReservationOut, status=201)
    def post(self, request: Request) -> Response:
        """From then on idle time of so many GPUs is the tenant's cost, not the fleet's."""
        given = self.given(ReservationIn)
        tenant_id = tenant_id_of(given.pop("tenant"))
        row = actions.reserve_gpus(self.viewer, tenant_id=tenant_id, now=timezone.now(), **given)
        return self.answer(ReservationOut(row).data, etag=row.etag, status=201)


class ReservationView(ConsoleView):
    @operation("gpu_reservations_get", gives=ReservationOut)
    def get(self, request: Request, reservation_id: int) -> Response:
        row = queries.find_reservation(self.viewer, reservation_id)
        return self.answer(ReservationOut(row).data, etag=row.etag)


class ReservationEndView(ConsoleView):
    @operation("gpu_reservations_end", takes=ReservationEndIn, gives=ReservationOut, if_match=True)
    def post(self, request: Request, reservation_id: int) -> Response:
        """Idle time is the fleet's again from then on."""
        row = actions.end_reservation(
            self.viewer,
            reservation_id,
            now=timezone.now(),
            expected=self.expected_version(of=reservation_id),
            **self.given(ReservationEndIn),
        )
        return self.answer(ReservationOut(row).data, etag=row.etag)
