"""Receivers of exports, the history of deliveries, and delivering again."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import deliveries as actions
from billing.api.filters import tenant_id_of
from billing.queries import deliveries as queries
from billing.rules.addresses import LONGEST
from billing.rules.destinations import LONGEST_SECRET, METHODS, POST, Target
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView


class DestinationFields(Strict):
    name = TextField(max_length=120)
    url = TextField(
        max_length=LONGEST, help_text="With PUT and S3, the name of each file is added to it"
    )
    method = serializers.ChoiceField(
        METHODS, required=False, default=POST, help_text="S3: a bucket, signed with its store's key"
    )
    region = TextField(max_length=32, required=False, default="", allow_blank=True)
    access_key = TextField(
        max_length=128, required=False, default="", allow_blank=True, help_text="Of a bucket"
    )


class SecretField(serializers.CharField):
    def __init__(self) -> None:
        super().__init__(
            max_length=LONGEST_SECRET,
            required=False,
            default="",
            allow_blank=True,
            write_only=True,
            help_text="The secret access key of a bucket; others have one made for them",
        )


class DestinationIn(DestinationFields):
    tenant = serializers.SlugField(required=False, default="", allow_blank=True, max_length=63)
    secret_key = SecretField()


class RenewIn(Strict):
    secret_key = SecretField()


class DestinationOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    version = serializers.IntegerField()
    tenant_id = serializers.IntegerField(allow_null=True, help_text="Null: the operator's own")
    name = serializers.CharField()
    url = serializers.CharField()
    method = serializers.CharField()
    region = serializers.CharField(allow_blank=True)
    access_key = serializers.CharField(allow_blank=True)
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    previous_until = serializers.DateTimeField(
        allow_null=True, help_text="Until then the secret before the newest signs as well"
    )


class DestinationWithSecret(DestinationOut):
    secret = serializers.CharField(
        allow_blank=True, help_text="Signs each message; shown once. Empty: a bucket's was given"
    )


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
        tenant, secret_key = given.pop("tenant"), given.pop("secret_key")
        made, secret = actions.create_destination(
            self.viewer,
            Target(**given),
            tenant_id=tenant_id_of(tenant) if tenant else None,
            secret_key=secret_key,
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
            Target(**self.given(DestinationFields)),
            expected=self.expected_version(of=destination_id),
        )
        return self.answer(DestinationOut(changed).data, etag=changed.etag)


class DestinationSecretView(ConsoleView):
    @operation(
        "export_destinations_renew_secret",
        takes=RenewIn,
        gives=DestinationWithSecret,
        if_match=True,
    )
    def post(self, request: Request, destination_id: int) -> Response:
        """A new secret from the next message on, shown this once. For a day the old one signs too,
        but a bucket's."""
        changed, secret = actions.renew_secret(
            self.viewer,
            destination_id,
            expected=self.expected_version(of=destination_id),
            now=timezone.now(),
            **self.given(RenewIn),
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
