"""Runs of rating: what each was made from, and rating at once."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions.rating import rate_now
from billing.queries import runs as queries
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict
from tenants.api.base.views import ConsoleView


class RunOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField()
    hours = serializers.IntegerField(help_text="Hours of tenants that were compared")
    charges = serializers.IntegerField()
    input_sha = serializers.CharField(help_text="Digest of all that decided the charges")
    rules_version = serializers.CharField(help_text="Of the code that priced them")
    first_hour = serializers.DateTimeField(allow_null=True, help_text="Null: not kept")
    last_hour = serializers.DateTimeField(allow_null=True, help_text="Null: not kept")
    cut_off = serializers.DateTimeField(
        allow_null=True, help_text="Usage that was rolled up until then counted. Null: not kept"
    )


class UsedVersionOut(serializers.Serializer[Any]):
    book = serializers.CharField()
    number = serializers.IntegerField()
    currency = serializers.CharField()
    tenant_id = serializers.IntegerField(allow_null=True, help_text="Of a contract; null: a list")
    starts_at = serializers.DateTimeField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True)


class RunWithVersionsOut(RunOut):
    price_versions = UsedVersionOut(
        many=True, allow_null=True, help_text="As far as they are yours to see. Null: not kept"
    )


class PassedOut(serializers.Serializer[Any]):
    hours = serializers.IntegerField(help_text="Hours of tenants that were compared")
    charges = serializers.IntegerField(help_text="Rows written; 0: nothing was new")
    run_id = serializers.IntegerField(allow_null=True)


class RatingRunsView(ConsoleView):
    @operation("rating_runs_list", gives=RunOut(many=True))
    def get(self, request: Request) -> Response:
        """Newest first."""
        return self.page(queries.list_runs(self.viewer), RunOut)

    @operation("rating_runs_create", takes=Strict, gives=PassedOut)
    def post(self, request: Request) -> Response:
        """Rate what waits now, the running hour included, instead of within minutes."""
        self.given(Strict)
        passed = rate_now(self.viewer, now=timezone.now())
        return self.answer(PassedOut(passed).data)


class RatingRunView(ConsoleView):
    @operation("rating_runs_get", gives=RunWithVersionsOut)
    def get(self, request: Request, run_id: int) -> Response:
        """What the run was made from: price versions, cut-off, hours, rules."""
        run = queries.get_run(self.viewer, run_id)
        versions = queries.versions_of(self.viewer, run)
        shown = None if versions is None else UsedVersionOut(versions, many=True).data
        return self.answer(RunOut(run).data | {"price_versions": shown})
