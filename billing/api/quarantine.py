"""Quarantine: what waits, asking to take, correct or drop it, and what was decided."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import quarantine
from billing.api.filters import tenant_id_of
from billing.queries import quarantine as queries
from billing.queries.quarantine import QuarantineFilter
from billing.rules.quarantine import Kind, State
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField
from tenants.api.base.views import ConsoleView
from tenants.errors import NotFound
from tenants.queries.directory import source_names


class QuarantineOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    source_id = serializers.IntegerField()
    event_id = serializers.CharField(allow_blank=True)
    reason = serializers.CharField()
    detail = serializers.CharField()
    tenant_id = serializers.IntegerField(allow_null=True)
    payload = serializers.CharField(help_text="As sent, cut to 16 KiB")
    received_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(
        allow_null=True, help_text="As it says, where it can be read"
    )
    decision_id = serializers.IntegerField(allow_null=True, help_text="Waits for an approval")


class QuarantineFilters(serializers.Serializer[Any]):
    reason = serializers.ChoiceField(queries.REASONS, required=False)
    tenant = serializers.SlugField(required=False, max_length=63)
    source = serializers.SlugField(required=False, max_length=63)  # type: ignore[assignment]


class QuarantineDecisionIn(Strict):
    why = TextField(max_length=2000)


class QuarantineCorrectionIn(QuarantineDecisionIn):
    event = TextField(max_length=100_000, help_text="The whole CloudEvent, as JSON in a text")


class QuarantineDecisionsIn(QuarantineDecisionIn):
    decision = serializers.ChoiceField([Kind.TAKE.value, Kind.DROP.value])
    ids = serializers.ListField(
        child=CountField(min_value=1), min_length=1, max_length=quarantine.MOST
    )


class QuarantineDecisionOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    kind = serializers.CharField(help_text="take, correct, drop")
    state = serializers.CharField(help_text="waiting, done, refused")
    events = serializers.IntegerField()
    digest = serializers.CharField(help_text="SHA-256 over every event and its correction")
    why = serializers.CharField()
    asked_by = serializers.CharField()
    asked_at = serializers.DateTimeField()
    change_id = serializers.IntegerField(allow_null=True, help_text="Decided under changes")
    decided_by = serializers.CharField(allow_blank=True)
    decided_at = serializers.DateTimeField(allow_null=True)


class QuarantineItemOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    event_id = serializers.CharField(allow_blank=True)
    source_id = serializers.IntegerField()
    tenant_id = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField()
    detail = serializers.CharField()
    payload = serializers.CharField(help_text="As sent, cut to 16 KiB")
    corrected = serializers.CharField(allow_blank=True)
    outcome = serializers.CharField(
        allow_blank=True, help_text="taken, dropped, kept; empty: waits"
    )
    said = serializers.CharField(allow_blank=True, help_text="Why it was kept")


class DecisionFilters(serializers.Serializer[Any]):
    state = serializers.ChoiceField([s.value for s in State], required=False)


class QuarantineView(ConsoleView):
    @operation("usage_quarantine_list", gives=QuarantineOut(many=True), filters=QuarantineFilters)
    def get(self, request: Request) -> Response:
        """Events that could not be taken. For the fleet's people."""
        given = self.filters(QuarantineFilters)
        tenant, source = given.get("tenant"), given.get("source")
        wanted = QuarantineFilter(
            given.get("reason", ""),
            tenant_id_of(tenant) if tenant else None,
            source_id_of(source) if source else None,
        )
        return self.page(queries.list_quarantine(self.viewer, wanted), QuarantineOut)


def source_id_of(name: str) -> int:
    for source_id, known in source_names().items():
        if known == name:
            return source_id
    raise NotFound("No such usage source")


def ask(view: ConsoleView, ids: list[int], kind: Kind, why: str) -> Response:
    made = quarantine.ask(view.viewer, ids, kind=kind, why=why, now=timezone.now())
    return view.answer(QuarantineDecisionOut(made).data, status=201)


class TakeView(ConsoleView):
    @operation(
        "usage_quarantine_take", takes=QuarantineDecisionIn, gives=QuarantineDecisionOut, status=201
    )
    def post(self, request: Request, row_id: int) -> Response:
        """Ask to store an event after all, however old it is; every other rule holds."""
        return ask(self, [row_id], Kind.TAKE, **self.given(QuarantineDecisionIn))


class DropView(ConsoleView):
    @operation(
        "usage_quarantine_drop", takes=QuarantineDecisionIn, gives=QuarantineDecisionOut, status=201
    )
    def post(self, request: Request, row_id: int) -> Response:
        """Ask to give an event up; the decision keeps what it said."""
        return ask(self, [row_id], Kind.DROP, **self.given(QuarantineDecisionIn))


class CorrectView(ConsoleView):
    @operation(
        "usage_quarantine_correct",
        takes=QuarantineCorrectionIn,
        gives=QuarantineDecisionOut,
        status=201,
    )
    def post(self, request: Request, row_id: int) -> Response:
        """Ask to store an edited copy in an event's place; the original stays as it came."""
        given = self.given(QuarantineCorrectionIn)
        made = quarantine.ask_to_correct(
            self.viewer, row_id, corrected=given["event"], why=given["why"], now=timezone.now()
        )
        return self.answer(QuarantineDecisionOut(made).data, status=201)


class DecisionsView(ConsoleView):
    @operation(
        "usage_quarantine_decisions",
        gives=QuarantineDecisionOut(many=True),
        filters=DecisionFilters,
    )
    def get(self, request: Request) -> Response:
        """What was asked and decided, newest first."""
        rows = queries.list_decisions(self.viewer, **self.filters(DecisionFilters))
        return self.page(rows, QuarantineDecisionOut)

    @operation(
        "usage_quarantine_decide",
        takes=QuarantineDecisionsIn,
        gives=QuarantineDecisionOut,
        status=201,
    )
    def post(self, request: Request) -> Response:
        """Ask to take or to drop up to 1,000 events at once."""
        given = self.given(QuarantineDecisionsIn)
        return ask(self, given["ids"], Kind(given["decision"]), given["why"])


class DecisionView(ConsoleView):
    @operation("usage_quarantine_decision", gives=QuarantineDecisionOut)
    def get(self, request: Request, decision_id: int) -> Response:
        return self.answer(
            QuarantineDecisionOut(queries.get_decision(self.viewer, decision_id)).data
        )


class DecisionItemsView(ConsoleView):
    @operation("usage_quarantine_decision_items", gives=QuarantineItemOut(many=True))
    def get(self, request: Request, decision_id: int) -> Response:
        """Its events as they came, their corrections, and what became of each."""
        return self.page(queries.items_of(self.viewer, decision_id), QuarantineItemOut)
