"""Minima of contracts: what covers them, what is left, and who is told before they end."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core import mail

from billing.actions.alerts import change_settings
from billing.actions.commitments import warn_of_ends
from billing.actions.ingest import ingest
from billing.actions.rollup import roll_up
from billing.drive.events import deliver_due
from billing.models import BudgetAlert
from billing.queries.commitments import list_commitments, list_ending
from billing.rules.commitments import WARNED, due_warning
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Forbidden, NotFound
from tests.billing import factories
from tests.billing.factories import NOW, SYSTEM, batch, load, make_prices, settle, usage
from tests.billing.test_month_rating import sign

pytestmark = pytest.mark.django_db
MILLION = {"completion_tokens": 1_000_000, "prompt_tokens": 0, "cached_tokens": 0}  # 1.50
OCTOBER, NOVEMBER, DECEMBER = (datetime(2026, m, 1, tzinfo=UTC) for m in (10, 11, 12))
MINIMUM = ("", "commitment", "commitment 10")
FEE = ("", "fee", "flat 3")


def commitments(now=NOW, **narrow):
    with fleet_scope():
        found = list_commitments(SYSTEM, now=now, **narrow)
    return [
        (u.minimum.month, u.minimum.amount, u.used, u.unused, u.charged) for u in found
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("left", "due"),
    [
        (timedelta(days=31), None),
        (timedelta(days=30), 30),
        (timedelta(days=7, seconds=1), 30),
        (timedelta(days=7), 7),
        (timedelta(hours=24), 1),
        (timedelta(seconds=1), 1),
        (timedelta(0), None),
        (-timedelta(days=1), None),
    ],
)
def test_it_warns_by_the_nearest_of_its_days(left, due):
    assert due_warning(NOW + left, NOW) == due


def test_it_tells_what_is_used_and_unused_of_the_month_that_runs(acme, globex, gateway):
    make_prices()
    sign(acme, MINIMUM, FEE, starts_at=NOVEMBER)
    load(gateway, usage(acme, **MILLION), usage(acme, **MILLION), usage(globex, **MILLION))
    assert commitments() == [("2026-11", 10, 3, 7, 0)], "the fee covers nothing of it"


def test_use_that_waits_for_rating_counts(acme, gateway):
    make_prices()
    sign(acme, MINIMUM, starts_at=NOVEMBER)
    load(gateway, usage(acme, **MILLION))
    ingest(gateway, batch(usage(acme, at=NOW - timedelta(hours=3), **MILLION)), now=NOW)
    roll_up(NOW)
    assert commitments() == [("2026-11", 10, 3, 7, 0)]


def test_what_was_unused_of_a_month_that_is_over_was_charged(acme, gateway):
    make_prices()
    sign(acme, MINIMUM, FEE, starts_at=OCTOBER)
    load(gateway, usage(acme, at=OCTOBER + timedelta(days=3), **MILLION))
    settle()
    november, october = commitments()
    assert october == ("2026-10", 10, Decimal("1.5"), Decimal("8.5"), Decimal("8.5"))
    assert november == ("2026-11", 10, 0, 10, 0)


def test_late_use_takes_back_what_was_charged_for_the_minimum(acme, gateway):
    make_prices()
    sign(acme, MINIMUM, starts_at=OCTOBER)
    day = OCTOBER + timedelta(days=3)
    load(gateway, usage(acme, at=day, **MILLION))
    settle()
    load(gateway, *(usage(acme, at=day, **MILLION) for _ in range(7)))
    settle()
    assert commitments()[1] == ("2026-10", 10, 12, 0, 0)


def test_each_version_asks_for_its_own_part_of_a_month(acme, gateway):
    make_prices()
    middle = datetime(2026, 11, 16, tzinfo=UTC)
    sign(acme, MINIMUM, starts_at=NOVEMBER, ends_at=middle)
    sign(acme, ("", "commitment", "commitment 20"), starts_at=middle)
    load(gateway, usage(acme, at=NOVEMBER, **MILLION), usage(acme, **MILLION))
    with fleet_scope():
        second, first = list_commitments(SYSTEM, now=NOW)
    assert (first.minimum.amount, first.used) == (5, Decimal("1.5"))
    assert (second.minimum.amount, second.used) == (10, Decimal("1.5"))
    assert first.minimum.contract_ends_at is None, "the next version goes on with one"
    assert (first.minimum.number, second.minimum.number) == (1, 2)


def told():
    with fleet_scope():
        return [(a.kind, a.period, a.threshold) for a in BudgetAlert.objects.order_by("id")]


def test_each_warning_is_told_once(acme, gateway, fiona, settings):
    settings.EMAIL_HOST = "mail.example"
    make_prices()
    end = DECEMBER
    sign(acme, MINIMUM, starts_at=NOVEMBER, ends_at=end)
    load(gateway, usage(acme, **MILLION))
    with fleet_scope():
        change_settings(fiona, acme.slug, thresholds=[80], mails=["money@acme.example"], expected=0)
    assert [warn_of_ends(NOW) for _ in range(2)] == [1, 0]
    assert told() == [("commitment", "2026-11", 30)]
    for days in WARNED[1:]:
        assert [warn_of_ends(end - timedelta(days=days)) for _ in range(2)] == [1, 0]
    assert warn_of_ends(end) == 0
    assert [threshold for _, _, threshold in told()] == [30, 7, 1]
    assert deliver_due(end) == 3
    assert mail.outbox[0].subject == "The minimum of acme ends within 30 days"
    assert "8.5" in mail.outbox[0].body and "2026-12-01T00:00:00+00:00" in mail.outbox[0].body


def test_the_message_says_what_would_be_lost(acme, gateway):
    make_prices()
    sign(acme, MINIMUM, starts_at=NOVEMBER, ends_at=DECEMBER)
    load(gateway, usage(acme, **MILLION))
    warn_of_ends(NOW)
    with fleet_scope():
        message = json.loads(BudgetAlert.objects.get().event.payload)
    assert message["type"] == "commitment.ending"
    data = message["data"]
    assert (data["tenant"], data["contract"], data["version"]) == ("acme", "contract-acme", 1)
    numbers = [Decimal(data[name]) for name in ("minimum", "used", "unused")]
    assert numbers == [10, Decimal("1.5"), Decimal("8.5")]
    assert data["days_before_end"] == 30


def test_nobody_is_warned_of_a_minimum_that_goes_on(acme, gateway):
    make_prices()
    sign(acme, MINIMUM, starts_at=NOVEMBER, ends_at=DECEMBER)
    sign(acme, MINIMUM, starts_at=DECEMBER)
    assert warn_of_ends(NOW) == 0


def test_the_ones_that_end_soonest_come_first_and_only_those(acme, globex):
    make_prices()
    sign(acme, MINIMUM, starts_at=NOVEMBER, ends_at=DECEMBER)
    sign(globex, FEE, starts_at=NOVEMBER, ends_at=DECEMBER)
    third = factories.make_tenant("initech")
    sign(third, MINIMUM, starts_at=NOVEMBER, ends_at=DECEMBER - timedelta(days=1))
    with fleet_scope():
        found = list_ending(SYSTEM, now=NOW)
        assert not list_ending(SYSTEM, now=DECEMBER)
    assert [(e.tenant.slug, e.amount) for e in found] == [("initech", 10), ("acme", 10)]


def test_nothing_ends_where_a_minimum_goes_on_or_has_no_end(acme, globex):
    make_prices()
    sign(acme, MINIMUM, starts_at=NOVEMBER)
    sign(globex, MINIMUM, starts_at=NOVEMBER, ends_at=DECEMBER)
    sign(globex, MINIMUM, starts_at=DECEMBER)
    with fleet_scope():
        assert list_ending(SYSTEM, now=NOW) == []


def test_the_tenants_people_see_their_own_and_a_stranger_none(acme, globex, mallory):
    make_prices()
    sign(acme, MINIMUM, starts_at=NOVEMBER)
    sign(globex, MINIMUM, starts_at=NOVEMBER)
    own = factories.viewer("finance", acme)
    with scope_of(own):
        found = list_commitments(own, now=NOW)
        assert {u.minimum.tenant.slug for u in found} == {"acme"}
        assert list_ending(own, now=NOW) == []
    with scope_of(mallory), pytest.raises((Forbidden, NotFound)):
        assert list_commitments(mallory, now=NOW, tenant_id=acme.pk)
