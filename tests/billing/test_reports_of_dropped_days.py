"""A report of kept prefixes may be of a day whose requests are gone: its hours keep theirs."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.actions import quarantine
from billing.actions.ingest import ingest
from billing.drive.checks import check_all
from billing.drive.reconciliations import reconcile_due
from billing.drive.retention import drop_parts
from billing.models import (
    Charge,
    HourHead,
    PrefixHour,
    UsageDay,
    UsageEvent,
    UsageHour,
    UsageQuarantine,
)
from billing.rules.prices import read_line
from billing.rules.quarantine import Kind
from tenants.actions.changes import decide
from tenants.base.scope import fleet_scope
from tenants.models import ChangeRequest
from tests.billing.books import close_month, spend
from tests.billing.factories import make_prices, settle
from tests.billing.granted import PRICES
from tests.billing.test_kept_prefixes import report
from tests.billing.test_retention import JUST_DELIVERED

DAY = timedelta(days=1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def dropped(acme, gateway, old_noon, settings):
    """When the requests of a day are gone, whose month is closed."""
    settings.QM_USAGE_MONTHS = 3
    more = [read_line("chat", "kept_prefix", "0.02")]
    make_prices(PRICES, more=more, starts_at=old_noon.replace(minute=0) - 90 * DAY)
    for minutes in 0, 1, 90:
        spend(gateway, acme, at=old_noon + timedelta(minutes=minutes))
    close_month(acme, f"{old_noon:%Y-%m}", now=old_noon + 60 * DAY)
    later = old_noon + 200 * DAY
    reconcile_due(later)
    assert drop_parts(later) >= 1
    assert not UsageEvent.objects.exists()
    return later


def kept():
    """What is known of requests and what they cost, by hour."""
    with fleet_scope():
        by_hour = UsageHour.objects.order_by("hour").values_list("hour", "requests", "gpu_ms")
        charged = Charge.objects.exclude(meter="kept_prefix").order_by("hour")
        heads = HourHead.objects.order_by("hour").values_list("hour", "events", "prompt_tokens")
        return (
            list(by_hour),
            list(heads),
            list(UsageDay.objects.values_list("day", "events")),
            list(charged.values_list("hour").annotate(s=Sum("amount"))),
        )


def take(fin, vic, acme, gateway, start, now):
    ingest(gateway, json.dumps([report(acme, start=start)]).encode(), now=now)
    with fleet_scope():
        row = UsageQuarantine.objects.get(reason="too_late")
        quarantine.ask(fin, [row.pk], kind=Kind.TAKE, why="The store was cut off", now=now)
        change = ChangeRequest.objects.latest("id")
        decide(vic, change.pk, digest=change.digest, approve=True)
    assert quarantine.apply_decisions(now) == 1
    settle(now)


def test_hours_of_a_dropped_day_keep_their_requests(dropped, acme, gateway, fin, vic, old_noon):
    """Summed up anew from nothing, they would be given back to the customer."""
    before, hour = kept(), old_noon.replace(minute=0)
    assert len(before[0]) == 2
    take(fin, vic, acme, gateway, hour, dropped)
    assert kept() == before
    with fleet_scope():
        assert PrefixHour.objects.get().hour == hour
        charge = Charge.objects.get(meter="kept_prefix")
        assert (charge.amount, charge.correction_period is None) == (Decimal("0.03"), False)
        wrong = {c.sentence for c in check_all(old_noon - 90 * DAY, dropped) if not c.holds}
    assert wrong <= JUST_DELIVERED


def test_an_hour_that_had_no_request_gets_its_report_alone(
    dropped, acme, gateway, fin, vic, old_noon
):
    before, hour = kept(), old_noon.replace(minute=0) + timedelta(hours=5)
    take(fin, vic, acme, gateway, hour, dropped)
    hours, heads, days, charged = kept()
    assert (hours, days, charged) == (before[0], before[2], before[3])
    assert heads == sorted([*before[1], (hour, 0, 0)])
