"""Exports that are made each day, week or month."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import schedules as actions
from billing.actions.exports import TYPES
from billing.api.filters import tenant_id_of
from billing.queries import exports as queries
from billing.rules.datasets import FORMATS
from billing.rules.schedules import LAST_DAY
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView

DAY = "Weekly: 1 (Monday) to 7. Monthly: 1 to 28. Daily: 1"


@extend_schema_field(
    {"type": "string", "pattern": r"^\d\d:\d\d(:\d\d(\.\d+)?)?$", "example": "02:00"}
)
class LocalTimeField(serializers.TimeField):
    """Of a wall clock, without an offset: not the `time` of JSON Schema."""


class ScheduleIn(Strict):
    name = TextField(max_length=120)
    format = serializers.ChoiceField(FORMATS, help_text="csv: our own columns")
    file_type = serializers.ChoiceField(TYPES, required=False, default="csv")
    local_time = LocalTimeField()
    time_zone = TextField(max_length=64, help_text="IANA name")
    rhythm = serializers.ChoiceField(actions.RHYTHMS, required=False, default="daily")
    day = serializers.IntegerField(
        required=False, default=1, min_value=1, max_value=LAST_DAY, help_text=DAY
    )
    tenant = serializers.SlugField(required=False, default="", allow_blank=True, max_length=63)
    destination_id = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=1, help_text="Null: the folder"
    )


class ScheduleChange(Strict):
    name = TextField(max_length=120, required=False)
    format = serializers.ChoiceField(FORMATS, required=False)
    file_type = serializers.ChoiceField(TYPES, required=False)
    enabled = serializers.BooleanField(required=False)
    local_time = LocalTimeField(required=False)
    time_zone = TextField(max_length=64, required=False, help_text="IANA name")
    rhythm = serializers.ChoiceField(actions.RHYTHMS, required=False)
    day = serializers.IntegerField(required=False, min_value=1, max_value=LAST_DAY, help_text=DAY)
    destination_id = serializers.IntegerField(
        required=False, min_value=0, help_text="0: the folder alone"
    )


class ScheduleOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    version = serializers.IntegerField()
    name = serializers.CharField()
    format = serializers.CharField()
    file_type = serializers.CharField()
    tenant_id = serializers.IntegerField(allow_null=True)
    local_time = LocalTimeField()
    time_zone = serializers.CharField()
    rhythm = serializers.CharField(help_text="daily, weekly, monthly")
    day = serializers.IntegerField(help_text=DAY)
    enabled = serializers.BooleanField()
    destination_id = serializers.IntegerField(allow_null=True)
    made_until = serializers.DateTimeField(help_text="The last file that was due, or its start")
    next_at = serializers.DateTimeField()
    created_by = serializers.CharField()


class SchedulesView(ConsoleView):
    @operation("export_schedules_list", gives=ScheduleOut(many=True))
    def get(self, request: Request) -> Response:
        return self.page(queries.list_schedules(self.viewer), ScheduleOut)

    @operation("export_schedules_create", takes=ScheduleIn, gives=ScheduleOut, status=201)
    def post(self, request: Request) -> Response:
        """Make a file every day of the month up to that day's midnight, every week of the seven
        days before, or every month of the month before."""
        given = self.given(ScheduleIn)
        tenant = given.pop("tenant")
        schedule = actions.create_schedule(
            self.viewer,
            tenant_id=tenant_id_of(tenant) if tenant else None,
            now=timezone.now(),
            **given,
        )
        return self.answer(ScheduleOut(schedule).data, etag=schedule.etag, status=201)


class ScheduleView(ConsoleView):
    @operation("export_schedules_get", gives=ScheduleOut)
    def get(self, request: Request, schedule_id: int) -> Response:
        schedule = queries.get_schedule(self.viewer, schedule_id)
        return self.answer(ScheduleOut(schedule).data, etag=schedule.etag)

    @operation("export_schedules_patch", takes=ScheduleChange, gives=ScheduleOut, if_match=True)
    def patch(self, request: Request, schedule_id: int) -> Response:
        """What was due before the change is made as the schedule was."""
        given = self.given(ScheduleChange)
        schedule = actions.change_schedule(
            self.viewer,
            schedule_id,
            expected=self.expected_version(of=schedule_id),
            now=timezone.now(),
            **given,
        )
        return self.answer(ScheduleOut(schedule).data, etag=schedule.etag)

    @operation("export_schedules_delete", status=204, if_match=True)
    def delete(self, request: Request, schedule_id: int) -> Response:
        """No further file; those that it made stay."""
        actions.remove_schedule(
            self.viewer,
            schedule_id,
            expected=self.expected_version(of=schedule_id),
            now=timezone.now(),
        )
        return self.answer()
