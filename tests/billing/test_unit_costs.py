"""What was used in hours with a known cost: whole days as sums of days, the rest by the hour."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Sum

from billing.models import ModelDay, UsageHour
from billing.queries.unit_costs import SERVICE, TENANT, used_by, whole_days
from billing.rules.meters import BILLED
from tenants.base.scope import fleet_scope, tenant_scope
from tests.billing.factories import NOW, load, usage

MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
DAY = [MIDNIGHT + timedelta(hours=h) for h in range(24)]
KEY = {TENANT: "tenant_id", SERVICE: "model"}


def test_a_day_is_whole_when_none_of_its_hours_is_missing():
    tomorrow = DAY[-1] + timedelta(hours=1)
    assert whole_days([*DAY, tomorrow]) == ([MIDNIGHT.date()], [tomorrow])
    assert whole_days(DAY[1:]) == ([], DAY[1:])
    assert whole_days([]) == ([], [])


@pytest.mark.django_db
@pytest.mark.parametrize("by", [TENANT, SERVICE])
def test_days_and_hours_together_count_what_the_hours_count(acme, globex, gateway, by):
    load(gateway, usage(acme), usage(globex), usage(acme, at=MIDNIGHT - timedelta(hours=1)))
    load(gateway, usage(acme), usage(acme, outcome="failed", usage_quality="none"))
    with fleet_scope():
        rows = UsageHour.objects.filter(outcome__in=BILLED).values(KEY[by])
        sums = rows.annotate(n=Sum("requests"), p=Sum("prompt_tokens"), c=Sum("completion_tokens"))
        want = {str(s[KEY[by]]): (s["n"], s["p"] + s["c"]) for s in sums}
        assert sum(requests for requests, _ in want.values()) == 4
        assert used_by(by, [*DAY, MIDNIGHT - timedelta(hours=1)]) == want


@pytest.mark.django_db
def test_days_of_models_follow_late_usage_and_are_only_for_their_tenant(acme, globex, gateway):
    load(gateway, usage(acme), usage(globex))
    load(gateway, usage(acme), usage(acme, at=MIDNIGHT + timedelta(minutes=1)))
    with tenant_scope(acme.pk):
        (day,) = ModelDay.objects.all()
    assert (day.tenant_id, day.model, day.requests) == (acme.pk, "chat", 3)
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_hour WHERE tenant_id = %s", [acme.pk])
        assert ModelDay.objects.get(tenant_id=acme.pk).requests == 0
