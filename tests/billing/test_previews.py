"""Previews of prices: worked out in parts, of one set of prices, and never charged."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models.functions import Now

from billing.actions.previews import request_preview
from billing.actions.prices import draft_version, edit_draft
from billing.drive import previews
from billing.drive.previews import work_due
from billing.models import Charge, PricePreview, PricePreviewLine
from billing.queries.preview import find_preview
from billing.rules.prices import read_line
from tenants.base.scope import fleet_scope
from tenants.errors import Forbidden, NotFound
from tests.billing.factories import NOW, SYSTEM, load, make_prices, make_tenant, usage, viewer

pytestmark = pytest.mark.django_db
LAST_MONTH = NOW - timedelta(days=25)


def chat(price):
    return [read_line("chat", m, price) for m in ("prompt", "cached", "completion")]


@pytest.fixture
def draft(acme, globex, gateway):
    make_prices()
    load(gateway, usage(acme, at=LAST_MONTH), usage(globex, at=LAST_MONTH, model="code"))
    with fleet_scope():
        return draft_version(SYSTEM, "list", prices=chat("1"))


def ask(who, draft, now=NOW):
    with fleet_scope():
        return request_preview(who, "list", draft.number, now=now)


def found(who, draft, now=NOW):
    with fleet_scope():
        return find_preview(who, "list", draft.number, now=now)


def finish(now=NOW):
    passes = 0
    while work_due(now):
        passes += 1
    return passes


def edit(draft, prices):
    with fleet_scope():
        edit_draft(SYSTEM, "list", draft.number, prices=prices)


def test_it_prices_each_tenants_month_twice_and_charges_nothing(draft, fin):
    before = Charge.objects.count()
    ask(fin, draft)
    finish()
    preview = found(fin, draft)
    assert (preview.month, preview.state, preview.is_current) == ("2026-10", "done", True)
    by_tenant = {line.tenant: line for line in preview.lines}
    assert by_tenant["acme"].new == Decimal("0.00013")
    assert by_tenant["acme"].unpriced == 0
    assert (by_tenant["globex"].new, by_tenant["globex"].unpriced) == (0, 3)
    assert by_tenant["globex"].unpriced_before == 0
    assert preview.difference == sum(line.new - line.old for line in preview.lines)
    assert Charge.objects.count() == before


def test_it_goes_on_where_a_dead_worker_stopped(draft, fin, gateway):
    late = make_tenant("zeta")
    for n in range(6):
        make_tenant(f"empty-{n}")
    load(gateway, usage(late, at=LAST_MONTH))
    ask(fin, draft)
    assert work_due(NOW) == 1
    half = found(fin, draft)
    assert (half.state, half.tenants_done, half.tenants) == ("waiting", 5, 9)
    with fleet_scope():  # taken by a worker that then dies
        row = PricePreview.objects.get()
        PricePreview.take_claim(row.pk)
    assert work_due(NOW) == 0
    with fleet_scope():
        PricePreview.objects.update(claim_until=Now() - timedelta(seconds=1))
    assert finish() == 1
    assert [line.tenant for line in found(fin, draft).lines].count("zeta") == 1
    assert {line.tenant for line in found(fin, draft).lines} == {"acme", "globex", "zeta"}


def test_a_worker_that_comes_back_late_writes_nothing(draft, fin):
    row = ask(fin, draft)
    with fleet_scope():
        PricePreview.take_claim(row.pk)
        preview = PricePreview.objects.select_related("version__book").get()
        assert previews._next_part(preview, uuid.uuid4(), NOW) == 0
        assert previews._begin_again(preview, uuid.uuid4(), "of other prices") == 0
        assert not PricePreviewLine.objects.exists()
    assert found(fin, draft).tenants_done == 0


def test_a_line_is_written_once_and_never_again(draft, fin, gateway):
    for n in range(6):
        make_tenant(f"empty-{n}")
    late = make_tenant("zeta")
    load(gateway, usage(late, at=LAST_MONTH))
    ask(fin, draft)
    work_due(NOW)
    first = written()
    finish()
    assert len(first) == 2 and first <= written()
    assert len(written()) == 3


def written():
    """Where each line lies: an update would move it."""
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id, ctid::text, xmin::text FROM price_preview_line")
        return set(cursor.fetchall())


def test_it_begins_again_when_the_prices_are_edited_meanwhile(draft, fin):
    ask(fin, draft)
    edit(draft, chat("2"))
    finish()
    preview = found(fin, draft)
    assert preview.is_current
    assert {line.tenant: line.new for line in preview.lines}["acme"] == Decimal("0.00026")


def test_lines_of_the_prices_before_an_edit_are_gone(draft, fin):
    for n in range(6):
        make_tenant(f"empty-{n}")
    ask(fin, draft)
    work_due(NOW)
    edit(draft, chat("2"))
    finish()
    lines = found(fin, draft).lines
    assert [(line.tenant, line.new) for line in lines if line.tenant == "acme"] == [
        ("acme", Decimal("0.00026"))
    ]


def test_it_says_when_it_is_of_other_prices_or_another_month(draft, fin):
    ask(fin, draft)
    finish()
    assert not found(fin, draft, now=NOW + timedelta(days=31)).is_current
    edit(draft, chat("2"))
    assert not found(fin, draft).is_current


def test_asking_twice_for_what_is_worked_out_already_begins_nothing(draft, fin):
    first = ask(fin, draft)
    assert ask(fin, draft).pk == first.pk
    finish()
    assert ask(fin, draft).pk != first.pk


def test_it_is_for_those_who_see_the_money_of_the_fleet(draft, acme):
    for who, refusal in (viewer("finance", acme), NotFound), (viewer("viewer"), Forbidden):
        with pytest.raises(refusal):
            ask(who, draft)
        with pytest.raises(refusal):
            found(who, draft)


def test_it_knows_versions_that_are_there(draft, fin):
    assert found(fin, draft) is None
    with fleet_scope(), pytest.raises(NotFound):
        request_preview(fin, "list", 77, now=NOW)
