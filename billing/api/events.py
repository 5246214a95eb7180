"""Webhooks, the events that they are told of, and each delivery."""

import json
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import webhooks as actions
from billing.api.filters import tenant_id_of
from billing.api.invoices import TenantFilter
from billing.queries import events as queries
from billing.rules.addresses import LONGEST
from billing.rules.webhooks import KINDS
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView

PREVIOUS = "Until then the secret before the newest signs as well"
STATES = ("waiting", "done", "failed")


class WebhookFields(Strict):
    url = TextField(max_length=LONGEST)
    kinds = serializers.ListField(
        child=serializers.ChoiceField(KINDS), help_text="Of which events it is told"
    )


class WebhookIn(WebhookFields):
    tenant = serializers.SlugField(
        required=False, default="", allow_blank=True, max_length=63,
        help_text="Whose events. Empty: the operator's own receiver, told of all tenants'",
    )  # fmt: skip


class WebhookOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    version = serializers.IntegerField()
    tenant_id = serializers.IntegerField(allow_null=True, help_text="Null: told of all tenants")
    url = serializers.CharField()
    kinds = serializers.ListField(child=serializers.CharField())
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    previous_until = serializers.DateTimeField(allow_null=True, help_text=PREVIOUS)


class WebhookMadeOut(WebhookOut):
    secret = serializers.CharField(allow_null=True, help_text="Shown this once: whsec_…")


class FinanceEventOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    tenant_id = serializers.IntegerField(allow_null=True, help_text="Null: of the fleet")
    kind = serializers.CharField(help_text=", ".join(KINDS))
    subject = serializers.CharField()
    at = serializers.DateTimeField()
    message = serializers.SerializerMethodField(help_text="The body that receivers get")

    def get_message(self, event: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(event.payload)
        return found


class EventDeliveryOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    tenant_id = serializers.IntegerField(allow_null=True, help_text="The receiver's")
    event_id = serializers.IntegerField()
    kind = serializers.CharField(source="event.kind")
    subject = serializers.CharField(source="event.subject")
    webhook_id = serializers.IntegerField(allow_null=True)
    mail = serializers.CharField(allow_blank=True)
    state = serializers.CharField(help_text=", ".join(STATES))
    tries = serializers.IntegerField()
    answered = serializers.IntegerField(allow_null=True, help_text="Status of the last answer")
    why = serializers.CharField(allow_blank=True)
    tried_at = serializers.DateTimeField(allow_null=True)
    next_try = serializers.DateTimeField(allow_null=True, source="look_again")
    created_at = serializers.DateTimeField()


class EventFilters(TenantFilter):
    kind = serializers.ChoiceField(KINDS, required=False)


class DeliveryFilters(EventFilters):
    webhook_id = serializers.IntegerField(required=False, min_value=1, max_value=2**53)
    state = serializers.ChoiceField(STATES, required=False)


class WebhooksView(ConsoleView):
    @operation("webhooks_list", gives=WebhookOut(many=True), filters=TenantFilter)
    def get(self, request: Request) -> Response:
        given = with_tenant_id(self.filters(TenantFilter))
        return self.page(queries.list_webhooks(self.viewer, **given), WebhookOut)

    @operation("webhooks_create", takes=WebhookIn, gives=WebhookMadeOut, status=201)
    def post(self, request: Request) -> Response:
        """Add a receiver; its secret is in this answer and nowhere else."""
        given = self.given(WebhookIn)
        tenant = given.pop("tenant")
        row, secret = actions.add_webhook(
            self.viewer, **given, tenant_id=tenant_id_of(tenant) if tenant else None
        )
        return self.answer(WebhookOut(row).data | {"secret": secret}, etag=row.etag, status=201)


class WebhookView(ConsoleView):
    @operation("webhooks_get", gives=WebhookOut)
    def get(self, request: Request, webhook_id: int) -> Response:
        row = queries.get_webhook(self.viewer, webhook_id)
        return self.answer(WebhookOut(row).data, etag=row.etag)

    @operation("webhooks_put", takes=WebhookFields, gives=WebhookOut, if_match=True)
    def put(self, request: Request, webhook_id: int) -> Response:
        """Another address or other kinds, for what happens from now on."""
        row = actions.change_webhook(
            self.viewer,
            webhook_id,
            expected=self.expected_version(of=webhook_id),
            **self.given(WebhookFields),
        )
        return self.answer(WebhookOut(row).data, etag=row.etag)

    @operation("webhooks_delete", status=204)
    def delete(self, request: Request, webhook_id: int) -> Response:
        """Send nothing more to it; its history stays."""
        actions.remove_webhook(self.viewer, webhook_id, now=timezone.now())
        return self.answer()


class WebhookSecretView(ConsoleView):
    @operation("webhooks_renew_secret", takes=Strict, gives=WebhookMadeOut, if_match=True)
    def post(self, request: Request, webhook_id: int) -> Response:
        """A new secret from the next message on, shown this once. For a day the old signs too."""
        self.given(Strict)
        expected = self.expected_version(of=webhook_id)
        row, secret = actions.renew_secret(
            self.viewer, webhook_id, expected=expected, now=timezone.now()
        )
        return self.answer(WebhookOut(row).data | {"secret": secret}, etag=row.etag)


class EventsView(ConsoleView):
    @operation("finance_events_list", gives=FinanceEventOut(many=True), filters=EventFilters)
    def get(self, request: Request) -> Response:
        """What happened, newest first, whether a receiver was told or not."""
        given = with_tenant_id(self.filters(EventFilters))
        return self.page(queries.list_events(self.viewer, **given), FinanceEventOut)


class EventDeliveriesView(ConsoleView):
    @operation("event_deliveries_list", gives=EventDeliveryOut(many=True), filters=DeliveryFilters)
    def get(self, request: Request) -> Response:
        """Each event to each receiver, newest first."""
        given = with_tenant_id(self.filters(DeliveryFilters))
        return self.page(queries.list_deliveries(self.viewer, **given), EventDeliveryOut)


class SendAgainView(ConsoleView):
    @operation("event_deliveries_send_again", takes=Strict, gives=EventDeliveryOut, status=201)
    def post(self, request: Request, delivery_id: int) -> Response:
        """Under the same webhook-id: a receiver that has it already drops it."""
        self.given(Strict)
        row = actions.send_again(self.viewer, delivery_id, now=timezone.now())
        return self.answer(EventDeliveryOut(row).data, status=201)


def with_tenant_id(given: dict[str, Any]) -> dict[str, Any]:
    tenant = given.pop("tenant", "")
    return given | ({"tenant_id": tenant_id_of(tenant)} if tenant else {})
