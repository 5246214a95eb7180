"""Receivers of exports, the history of deliveries, and delivering again."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import deliveries as actions
from billing.api.filters import tenant_id_of
from billing.queries import deliveries as queries
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView


class DestinationFields(Strict):
    name = TextField(max_length=120)
    url = TextField(max_length=500, help_text="With PUT, the name of each file is added to it")
    method = serializers.ChoiceField(actions.KNOWN_METHODS, required=False, default="POST")


class DestinationIn(DestinationFields):
    tenant = serializers.SlugField(required=False, default="", allow_blank=True, max_length=63)


class DestinationOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    version = serializers.IntegerField()
    tenant_id = serializers.IntegerField(allow_null=True, help_text="Null: the operator's own")
    name = serializers.CharField()
    url = serializers.CharField()
    method = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()


class DestinationWithSecret(DestinationOut):
    secret = serializers.CharField(help_text="Signs each message; shown once")


class AttemptOut(serializers.Serializer[Any]):
    part = serializers.CharField(help_text="file, manifest")
    at = serializers.DateTimeField()
    status = serializers.IntegerField(allow_null=True, help_text="Null: nobody answered")
    why = serializers.CharField(allow_blank=True, help_text="Empty: taken")


class DeliveryIn(Strict):
    destination_id = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=1, help_text="Null: as the export"
    )


class DeliveryOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    destination_id = serializers.IntegerField()
    state = serializers.CharField(help_text="waiting, delivered, failed")
    why = serializers.CharField(allow_blank=True)
    requested_by = serializers.CharField()
    requested_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    next_try = serializers.DateTimeField(allow_null=True, source="look_again")
    attempts = AttemptOut(many=True)


class DestinationsView(ConsoleView):
    @operation("export_destinations_list", gives=DestinationOut(many=True))
    def get(self, request: Request) -> Response:
        return self.page(queries.list_destinations(self.viewer), DestinationOut)

    @operation(
        "export_destinations_create", takes=DestinationIn, gives=DestinationWithSecret, status=201
    )
    def post(self, request: Request) -> Response:
        """Name a receiver. The answer has the secret that signs messages, this once."""
        given = self.given(DestinationIn)
        tenant = given.pop("tenant")
        made, secret = actions.create_destination(
            self.viewer, tenant_id=tenant_id_of(tenant) if tenant else None, **given
        )
        data = DestinationOut(made).data | {"secret": secret}
        return self.answer(data, etag=made.etag, status=201)


class DestinationView(ConsoleView):
    @operation("export_destinations_get", gives=DestinationOut)
    def get(self, request: Request, destination_id: int) -> Response:
        found = queries.get_destination(self.viewer, destination_id)
        return self.answer(DestinationOut(found).data, etag=found.etag)

    @operation(
        "export_destinations_put", takes=DestinationFields, gives=DestinationOut, if_match=True
    )
    def put(self, request: Request, destination_id: int) -> Response:
        changed = actions.change_destination(
            self.viewer,
            destination_id,
            expected=self.expected_version(),
            **self.given(DestinationFields),
        )
        return self.answer(DestinationOut(changed).data, etag=changed.etag)


class DestinationSecretView(ConsoleView):
    @operation("export_destinations_renew_secret", gives=DestinationWithSecret, if_match=True)
    def post(self, request: Request, destination_id: int) -> Response:
        """A new secret from the next message on, shown this once."""
        changed, secret = actions.renew_secret(
            self.viewer, destination_id, expected=self.expected_version()
        )
        return self.answer(DestinationOut(changed).data | {"secret": secret}, etag=changed.etag)


class DeliveriesView(ConsoleView):
    @operation("exports_deliveries_list", gives=DeliveryOut(many=True))
    def get(self, request: Request, export_id: int) -> Response:
        return self.page(queries.list_deliveries(self.viewer, export_id), DeliveryOut)

    @operation("exports_deliver", takes=DeliveryIn, gives=DeliveryOut, status=202)
    def post(self, request: Request, export_id: int) -> Response:
        """Send the file, again or to another receiver."""
        delivery = actions.deliver_export(
            self.viewer, export_id, now=timezone.now(), **self.given(DeliveryIn)
        )
        delivery.refresh_from_db()
        return self.answer(DeliveryOut(delivery).data, status=202)
