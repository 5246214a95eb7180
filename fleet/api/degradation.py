"""Who misses an objective since when and why, and a tenant's traffic over time."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.api.services import ObjectiveOut
from fleet.queries import degradation as queries
from tenants.api.base.schema import operation
from tenants.api.base.views import ConsoleView
from tenants.errors import Invalid
from tenants.queries.tenants import get_tenant, require_some_view

LONGEST = timedelta(days=120)


class EvidenceOut(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]  # a member of that name
    value = serializers.CharField()
    kind = serializers.CharField()
    key = serializers.CharField()


class CauseOut(serializers.Serializer[Any]):
    cause = serializers.CharField()
    score = serializers.FloatField(help_text="0 to 1")
    because = serializers.CharField()
    evidence = EvidenceOut(many=True)


class FindingOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    tenant_id = serializers.IntegerField()
    service = serializers.CharField()
    traffic_class = serializers.CharField()
    symptom = serializers.CharField()
    cause = serializers.CharField()
    sentence = serializers.CharField()
    started_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    requests = serializers.IntegerField()
    affected = serializers.IntegerField()
    causes = CauseOut(many=True)


class PercentilesOut(serializers.Serializer[Any]):
    p50 = serializers.FloatField(allow_null=True, help_text="Milliseconds")
    p95 = serializers.FloatField(allow_null=True)
    samples = serializers.IntegerField()


class PartOut(serializers.Serializer[Any]):
    service = serializers.CharField()
    traffic_class = serializers.CharField()
    outcomes = serializers.DictField(child=serializers.IntegerField())
    ttft = PercentilesOut()
    itl = PercentilesOut()
    queue = PercentilesOut()
    objective = ObjectiveOut()


class MarkerOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    kind = serializers.CharField()
    key = serializers.CharField()
    told = serializers.CharField()
    by = serializers.CharField()


class DegradationOut(serializers.Serializer[Any]):
    moments = serializers.ListField(child=serializers.DateTimeField())
    step_seconds = serializers.IntegerField()
    outcomes = serializers.DictField(
        child=serializers.ListField(child=serializers.IntegerField()),
        help_text="One number for each moment",
    )
    totals = serializers.DictField(child=serializers.IntegerField())
    ttft = PercentilesOut(many=True)
    itl = PercentilesOut(many=True)
    queue = PercentilesOut(many=True)
    waking = PercentilesOut(many=True, help_text="Waits for a service that slept")
    objective = ObjectiveOut(allow_null=True)
    parts = PartOut(many=True)
    markers = MarkerOut(many=True)
    findings = FindingOut(many=True)
    data_until = serializers.DateTimeField(allow_null=True)


class RangeIn(serializers.Serializer[Any]):
    start = serializers.DateTimeField(required=False, help_text="Default: an hour before the end")
    end = serializers.DateTimeField(required=False, help_text="Default: now")
    service = serializers.CharField(required=False, default="")
    traffic_class = serializers.CharField(required=False, default="")


class FindingsIn(serializers.Serializer[Any]):
    open = serializers.BooleanField(required=False, default=False)


class DegradationView(ConsoleView):
    @operation("tenant_degradation", filters=RangeIn, gives=DegradationOut)
    def get(self, request: Request, slug: str) -> Response:
        """Outcomes and latencies over time, causes, and what changed meanwhile."""
        tenant = get_tenant(self.viewer, slug)
        given, now = self.filters(RangeIn), timezone.now()
        end = given.get("end", now)
        start = given.get("start", end - timedelta(hours=1))
        if not timedelta() < end - start <= LONGEST:
            raise Invalid(
                start=f"Give a range of more than nothing and at most {LONGEST.days} days"
            )
        wanted = queries.Wanted(given["service"], given["traffic_class"])
        found = queries.get_degradation(self.viewer, tenant.pk, start, end, wanted=wanted, now=now)
        return self.answer(DegradationOut(found).data)


class FindingsView(ConsoleView):
    @operation("findings_list", filters=FindingsIn, gives=FindingOut(many=True))
    def get(self, request: Request) -> Response:
        """Newest first; of the tenants that the caller may see."""
        require_some_view(self.viewer)
        rows = queries.list_findings(self.viewer, open_only=self.filters(FindingsIn)["open"])
        fleet = self.viewer.is_fleet

        def shown(page: Iterable[Any], *, many: bool) -> FindingOut:
            told = [queries.finding_row(row, fleet=fleet) for row in page]
            return FindingOut(told, many=many)

        return self.page(rows, shown)
