"""The change calendar: when no rollout begins."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import freezes as actions
from fleet.queries import freezes as queries
from fleet.rules.freeze import Window
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView


class FreezeOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    title = serializers.CharField()
    reason = serializers.CharField()
    scope = serializers.CharField()
    when = serializers.CharField()
    state = serializers.CharField(help_text="holds, planned, over")
    starts_at = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True, help_text="Of what holds now")
    next_at = serializers.DateTimeField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True)
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)
    closed_by = serializers.CharField()
    closed_why = serializers.CharField()


class FreezeIn(Strict):
    title = TextField(max_length=120)
    reason = TextField(max_length=2000)
    cluster_id = CountField(required=False, allow_null=True, min_value=1)
    service_id = CountField(required=False, allow_null=True, min_value=1)
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="null: a hold, until somebody ends it"
    )
    weekdays = serializers.ListField(
        required=False, child=CountField(), max_length=7, help_text="0 is Monday; empty: once"
    )
    from_time = serializers.TimeField(required=False, allow_null=True)
    minutes = CountField(required=False)
    zone = TextField(required=False, max_length=64, help_text="IANA; UTC if left out")


class WhyIn(Strict):
    why = TextField(max_length=2000)


class AskedOut(serializers.Serializer[Any]):
    change_id = serializers.IntegerField(help_text="What somebody else has to approve")


class FreezesView(ConsoleView):
    @operation("freezes_list", gives=FreezeOut(many=True))
    def get(self, request: Request) -> Response:
        """What holds first, then what comes, then what is over."""
        rows = queries.list_freezes(self.viewer, timezone.now())
        return self.answer(FreezeOut(rows, many=True).data)

    @operation("freezes_create", takes=FreezeIn, gives=FreezeOut, status=201)
    def post(self, request: Request) -> Response:
        """Let no rollout begin in a time: once, every week, or until somebody ends it."""
        given = self.given(FreezeIn)
        scope = {k: given.pop(k, None) for k in ("cluster_id", "service_id")}
        given["weekdays"] = tuple(given.get("weekdays", ()))
        freeze = actions.create_freeze(self.viewer, Window(**given), **scope)
        row = queries.row_of(freeze, timezone.now())
        return self.answer(FreezeOut(row).data, status=201)


class EndFreezeView(ConsoleView):
    @operation("freezes_end", takes=WhyIn, gives=FreezeOut)
    def post(self, request: Request, freeze_id: int) -> Response:
        """End it. A window that holds now is ended by an approver only, and nothing that holds now
        by whoever proposed a rollout that it keeps back.
        """
        freeze = actions.end_freeze(self.viewer, freeze_id, **self.given(WhyIn))
        return self.answer(FreezeOut(queries.row_of(freeze, timezone.now())).data)


class ExceptionView(ConsoleView):
    @operation("rollouts_ask_exception", takes=WhyIn, gives=AskedOut, status=201)
    def post(self, request: Request, rollout_id: int) -> Response:
        """Ask somebody else to let a frozen rollout begin."""
        change_id = actions.ask_exception(self.viewer, rollout_id, **self.given(WhyIn))
        return self.answer(AskedOut({"change_id": change_id}).data, status=201)
