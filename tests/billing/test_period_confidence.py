"""An hour whose figures cannot be trusted holds its period until a person decides."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.actions.calendars import keep_periods
from billing.actions.periods import close, sign_off, start_closing
from billing.models import EngineHour, PeriodSignOff
from billing.queries.confidence import tenant_hours
from billing.queries.periods import period_checks
from billing.rules.periods import CheckKey
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict
from tests.billing.books import GRACE, NOVEMBER, OCTOBER, find_period, set_account, spend
from tests.billing.factories import SYSTEM, make_prices

pytestmark = pytest.mark.django_db
ONE = timedelta(hours=1)
FIRST = datetime(2026, 10, 10, 9, tzinfo=UTC)
GIVEN = {"now": NOVEMBER, "grace": GRACE}


@pytest.fixture(autouse=True)
def prices(db):
    make_prices()


def counted(tokens, *, hour=FIRST, service=4):
    """130 tokens are metered by one request."""
    EngineHour.objects.update_or_create(
        hour=hour, service_id=service,
        defaults={"prompt_tokens": tokens, "completion_tokens": 0, "engines": 1},
    )  # fmt: skip


def confidence(tenant):
    keep_periods(NOVEMBER)
    with fleet_scope():
        checks = period_checks(SYSTEM, find_period(tenant), **GIVEN)
    return next(c for c in checks if c.key == CheckKey.CONFIDENCE)


def closing(tenant):
    keep_periods(NOVEMBER)
    return start_closing(SYSTEM, find_period(tenant).pk, now=NOVEMBER).pk


def sign(pk, why="The engine was restarted"):
    return sign_off(SYSTEM, pk, key="confidence", why=why, **GIVEN)


def test_an_alarming_hour_blocks_until_it_is_signed(acme, gateway):
    spend(gateway, acme, service_id=4)
    counted(145)
    with fleet_scope():
        pk = closing(acme)
        with pytest.raises(Conflict, match=r"2026-10-10 09:00 .*10.34 % metered against counted"):
            close(SYSTEM, pk, **GIVEN)
        sign(pk)
        assert PeriodSignOff.objects.get().covers == {"2026-10-10T09Z/4": pytest.approx(130 / 145)}
        assert close(SYSTEM, pk, **GIVEN).state == "closed"


def test_a_signature_covers_no_other_hour_and_none_that_became_worse(acme, gateway):
    spend(gateway, acme, service_id=4)
    spend(gateway, acme, service_id=4, at=OCTOBER + ONE)
    counted(145)
    counted(130, hour=FIRST + ONE)
    with fleet_scope():
        sign(closing(acme))
    assert confidence(acme).is_green
    counted(160)
    assert not confidence(acme).is_green, "worse than what was signed"
    counted(130)
    counted(145, hour=FIRST + ONE)
    found = confidence(acme)
    assert (found.number, found.is_green) == (1, False), "as many hours, but another one"
    counted(140)
    with fleet_scope():
        sign(find_period(acme).pk)
    assert confidence(acme).is_green


def test_opposite_hours_do_not_cancel(acme, gateway):
    for hours in (0, 1):
        spend(gateway, acme, service_id=4, at=OCTOBER + hours * ONE)
    counted(143)
    counted(117, hour=FIRST + ONE)
    assert confidence(acme).number == 2


def test_another_tenants_hour_does_not_block(acme, globex, gateway):
    spend(gateway, acme, service_id=4)
    spend(gateway, globex, service_id=5)
    spend(gateway, globex, service_id=4, at=OCTOBER + ONE)
    counted(130)
    counted(999, service=5)
    counted(999, hour=FIRST + ONE)
    assert confidence(acme).is_green
    assert confidence(globex).number == 2


def test_an_hour_in_which_no_engine_was_read_is_not_green(acme, gateway):
    spend(gateway, acme, service_id=4)
    spend(gateway, acme, service_id=None, at=OCTOBER + ONE)
    found = confidence(acme)
    assert (found.number, found.is_green, found.may_sign) == (2, False, True)
    assert "no engine was read" in found.said
    assert "no service answered" in found.said
    assert found.said.endswith("2 not known")


def test_hours_of_requests_without_tokens_need_no_engine(acme, gateway):
    spend(
        gateway, acme, service_id=None, outcome="rejected", reason="tpm",
        prompt_tokens=0, cached_tokens=0, completion_tokens=0, usage_quality="none",
    )  # fmt: skip
    assert confidence(acme).is_green


def test_hours_belong_to_the_period_in_which_they_are_billed(acme, gateway):
    """Kolkata's months begin at half past: the hour before belongs to the month before."""
    set_account(acme, time_zone="Asia/Kolkata")
    start = datetime(2026, 9, 30, 18, 30, tzinfo=UTC)
    spend(gateway, acme, service_id=4, at=start + timedelta(minutes=5))
    spend(gateway, acme, service_id=4, at=start + timedelta(minutes=35))
    with fleet_scope():
        hours = tenant_hours(SYSTEM, acme.pk, start, datetime(2026, 10, 31, 18, 30, tzinfo=UTC))
    assert [h.hour for h in hours] == [datetime(2026, 9, 30, 19, tzinfo=UTC)]


@pytest.mark.parametrize(("estimated", "state"), [(1, "off"), (0, "within")])
def test_a_high_estimated_share_is_below_the_threshold(acme, gateway, estimated, state):
    for number in range(4):
        quality = "estimated" if number < estimated else "final"
        spend(gateway, acme, service_id=4, usage_quality=quality)
    counted(520)
    with fleet_scope():
        (found,) = tenant_hours(SYSTEM, acme.pk, FIRST, FIRST + ONE)
    assert (found.estimated_share, found.state) == (estimated / 4, state)
