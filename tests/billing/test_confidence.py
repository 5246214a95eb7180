"""Metered tokens against the engines' own counters, hour by hour."""

from datetime import timedelta

import pytest

from billing.actions.calendars import keep_periods
from billing.actions.confidence import keep_engine_hours
from billing.models import EngineHour, ServiceHour
from billing.queries.completeness import compare_tokens
from billing.queries.confidence import compare_hours, tenants_of_hour
from billing.queries.periods import period_checks
from billing.rules.periods import CheckKey
from fleet.actions.trimming import trim
from fleet.models import EngineSample
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import NotFound
from tests.billing.books import GRACE, NOVEMBER, find_period, spend
from tests.billing.factories import HOUR, SYSTEM, load, make_prices, usage
from tests.fleet.makers import make_service

pytestmark = pytest.mark.django_db
ONE = timedelta(hours=1)


def counted(prompt, completion, *, hour=HOUR, service=4):
    return EngineHour.objects.create(
        hour=hour, service_id=service, prompt_tokens=prompt, completion_tokens=completion, engines=1
    )


def compare(olga, start=HOUR, end=HOUR + ONE):
    with scope_of(olga):
        return compare_tokens(olga, start, end)


def sample(service, at, prompt, completion):
    EngineSample.objects.create(
        pod_uid="a",
        service=service,
        release_id=1,
        at=at,
        prompt_tokens=prompt,
        generation_tokens=completion,
    )


@pytest.mark.parametrize(
    ("prompt", "completion", "drift", "alarming"),
    [(100, 30, 0.0, False), (101, 30, 1 / 131, True), (0, 65, 1.0, True)],
)
def test_it_compares_metered_tokens_with_engines(
    acme, gateway, olga, prompt, completion, drift, alarming
):
    """One request of 100 + 30 tokens was metered."""
    load(gateway, usage(acme, service_id=4))
    counted(prompt, completion)
    (found,) = compare(olga)
    assert found.drift == pytest.approx(drift)
    assert found.is_alarming is alarming
    assert (found.hours, found.hours_unknown) == (1, 0)


def test_it_says_nothing_where_engines_counted_nothing(olga, db):
    counted(0, 0)
    (found,) = compare(olga)
    assert found.drift is None
    assert not found.is_alarming


def test_it_leaves_hours_out_in_which_no_engine_was_read(acme, gateway, olga):
    load(gateway, usage(acme, service_id=4), usage(acme, service_id=4, at=HOUR - ONE))
    counted(100, 30)
    (found,) = compare(olga, start=HOUR - ONE)
    assert (found.metered_prompt, found.drift) == (100, 0.0)
    assert (found.hours, found.hours_unknown) == (1, 1)


def test_hours_of_services_follow_late_usage_of_every_tenant(acme, globex, gateway):
    load(gateway, usage(acme, service_id=4), usage(acme, service_id=5))
    load(gateway, usage(acme, service_id=4), usage(globex, service_id=4), usage(globex))
    kept = ServiceHour.objects.order_by("service_id")
    of_them = kept.filter(service_id__in=(4, 5)).values_list("service_id", "prompt_tokens")
    assert list(of_them) == [(4, 300), (5, 100)]


def test_it_keeps_what_engines_counted_when_their_samples_end(db):
    chat = make_service()
    for minute, prompt in ((1, 100), (59, 160), (61, 200), (119, 260)):
        sample(chat, HOUR + timedelta(minutes=minute), prompt, 0)
    assert keep_engine_hours(HOUR + ONE + timedelta(minutes=4)) == 0  # not settled yet
    assert keep_engine_hours(HOUR + ONE + timedelta(minutes=5)) == 1
    assert keep_engine_hours(HOUR + ONE + timedelta(minutes=30)) == 0
    assert keep_engine_hours(HOUR + 3 * ONE) == 1
    trim(HOUR + timedelta(days=40))
    assert not EngineSample.objects.exists()
    kept = EngineHour.objects.order_by("hour").values_list("prompt_tokens", flat=True)
    assert list(kept) == [160, 100]


def test_a_month_is_compared_though_its_samples_ended_weeks_ago(acme, gateway, fin):
    make_prices()
    spend(gateway, acme)
    hours = ServiceHour.objects.filter(hour__lt=NOVEMBER).order_by("hour")
    for kept in hours:
        counted(kept.prompt_tokens, kept.completion_tokens, hour=kept.hour, service=kept.service_id)
    assert hours
    keep_periods(NOVEMBER)
    with fleet_scope():
        period = find_period(acme)
        checks = period_checks(SYSTEM, period, now=NOVEMBER, grace=GRACE)
    found = next(c for c in checks if c.key == CheckKey.CONFIDENCE)
    assert (found.number, found.said) == (
        0, "0 of 1 used hours of services below the threshold or not known",
    )  # fmt: skip


def hours(who, **narrowed):
    with scope_of(who):
        return compare_hours(who, HOUR - ONE, HOUR + ONE, **narrowed)


def test_each_hour_of_a_service_is_within_off_or_unknown(acme, globex, gateway, olga):
    load(gateway, usage(acme, service_id=4), usage(globex, service_id=5))
    load(gateway, usage(acme, service_id=4, at=HOUR - ONE))
    counted(100, 30)
    counted(90, 30, service=5)
    assert [(h.hour, h.service_id, h.state) for h in hours(olga)] == [
        (HOUR, 4, "within"), (HOUR, 5, "off"), (HOUR - ONE, 4, "unknown"),
    ]  # fmt: skip
    assert [h.service_id for h in hours(olga, is_off=True)] == [5, 4]
    assert [h.hour for h in hours(olga, service_id=4)] == [HOUR, HOUR - ONE]
    assert [(h.service_id, h.theirs) for h in hours(olga, tenant_id=globex.pk)] == [(5, 130)]


def test_the_tenants_of_an_hour_add_up_to_what_was_metered(acme, globex, gateway, olga):
    load(gateway, usage(acme, service_id=4), usage(acme, service_id=4), usage(globex, service_id=4))
    counted(0, 0)
    (found,) = hours(olga)
    assert (found.state, found.drift) == ("off", None), "engines counted nothing of it"
    with scope_of(olga):
        parts = tenants_of_hour(olga, HOUR, 4)
    assert [(p.tenant_id, p.requests) for p in parts] == [(acme.pk, 2), (globex.pk, 1)]
    assert sum(p.tokens for p in parts) == found.metered


def test_a_tenants_own_people_do_not_see_what_engines_counted(mallory):
    with pytest.raises(NotFound):
        hours(mallory)
    with scope_of(mallory), pytest.raises(NotFound):
        tenants_of_hour(mallory, HOUR, 4)
