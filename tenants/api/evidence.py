"""What waits for a decision, and the record of who did what."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.actions import changes as actions
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField, Why
from tenants.api.base.views import ConsoleView
from tenants.queries import audit, changes


class ChangeOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    kind = serializers.CharField()
    target_id = serializers.IntegerField()
    title = serializers.CharField()
    digest = serializers.CharField(help_text="SHA-256 of the payload; a decision names it")
    reason = serializers.CharField(allow_blank=True)
    state = serializers.ChoiceField(changes.STATES)
    requester = serializers.EmailField(source="requester.email")
    decider = serializers.EmailField(source="decider.email", default=None, allow_null=True)
    decision_reason = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField()


class ChangeDetail(ChangeOut):
    payload = serializers.JSONField()


class ChangeFilters(serializers.Serializer[Any]):
    state = serializers.ChoiceField(changes.STATES, required=False)
    kind = serializers.CharField(required=False)


class DecisionIn(Strict):
    digest = TextField(help_text="The digest of what you read")
    approve = serializers.BooleanField()
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class EventOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor = serializers.CharField()
    via = serializers.CharField()
    address = serializers.CharField(allow_blank=True, help_text="From where; empty: not told")
    credential = serializers.CharField(allow_blank=True, help_text="Id of the token, if it was one")
    verb = serializers.CharField()
    target_kind = serializers.CharField()
    target_id = serializers.CharField()
    target_name = serializers.CharField()
    tenant_id = serializers.IntegerField(allow_null=True)
    why = serializers.CharField(allow_blank=True)
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)
    request_id = serializers.CharField(allow_blank=True)


class EventFilters(serializers.Serializer[Any]):
    actor = serializers.CharField(required=False)
    verb = serializers.CharField(required=False)
    target_kind = serializers.CharField(required=False)
    target_id = serializers.CharField(required=False)
    tenant = serializers.CharField(required=False)
    search = serializers.CharField(required=False)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


class ChangesView(ConsoleView):
    @operation("changes_list", gives=ChangeOut(many=True), filters=ChangeFilters)
    def get(self, request: Request) -> Response:
        rows = changes.list_changes(self.viewer, **self.filters(ChangeFilters))
        return self.page(rows, ChangeOut)


class ChangeView(ConsoleView):
    @operation("changes_get", gives=ChangeDetail)
    def get(self, request: Request, change_id: int) -> Response:
        return self.answer(ChangeDetail(changes.get_change(self.viewer, change_id)).data)


class DecideView(ConsoleView):
    @operation("changes_decide", takes=DecisionIn, gives=ChangeOut)
    def post(self, request: Request, change_id: int) -> Response:
        change = actions.decide(self.viewer, change_id, **self.given(DecisionIn))
        return self.answer(ChangeOut(change).data)


class WithdrawView(ConsoleView):
    @operation("changes_withdraw", takes=Why, gives=ChangeOut)
    def post(self, request: Request, change_id: int) -> Response:
        change = actions.withdraw(self.viewer, change_id, **self.given(Why))
        return self.answer(ChangeOut(change).data)


class EventsView(ConsoleView):
    @operation("audit_list", gives=EventOut(many=True), filters=EventFilters)
    def get(self, request: Request) -> Response:
        wanted = audit.AuditFilter(**self.filters(EventFilters))
        return self.page(audit.list_events(self.viewer, wanted), EventOut)


class EventView(ConsoleView):
    @operation("audit_get", gives=EventOut)
    def get(self, request: Request, event_id: int) -> Response:
        return self.answer(EventOut(audit.get_event(self.viewer, event_id)).data)
