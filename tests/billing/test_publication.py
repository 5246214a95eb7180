"""Four eyes on prices: what is approved is what was shown, and what holds never changes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing.actions.contracts import create_contract
from billing.actions.prices import create_book, draft_version, edit_draft
from billing.actions.publication import propose_version, publish_approved, publish_version
from billing.models import Price, PriceBookVersion
from billing.queries.books import read_tariffs
from tenants.actions import changes
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Forbidden, Invalid
from tenants.models import ChangeRequest
from tenants.queries.directory import tenant_refs
from tests.billing.factories import HOUR, NOW, SYSTEM, at, lines, make_prices
from tests.billing.granted import person

pytestmark = pytest.mark.django_db
LATER = HOUR + timedelta(days=2)


@pytest.fixture
def draft(db):
    with fleet_scope():
        create_book(SYSTEM, slug="list", name="List prices", currency="USD")
        return draft_version(SYSTEM, "list", prices=lines(), why="first")


def propose(who, number=1, **changes):
    with fleet_scope():
        given = {"starts_at": LATER, "now": NOW, "why": "agreed"} | changes
        return propose_version(who, "list", number, **given)


def decide(who, version, *, approve=True):
    change = ChangeRequest.objects.get(pk=version.change_id)
    with fleet_scope():
        return changes.decide(who, change.pk, digest=change.digest, approve=approve, why="seen")


def fresh(version):
    return PriceBookVersion.objects.get(pk=version.pk)


def test_it_holds_once_somebody_else_has_approved_it(fin, vic, draft):
    version = propose(fin)
    assert publish_approved(NOW) == 0
    decide(vic, version)
    assert publish_approved(NOW) == 1
    assert publish_approved(NOW) == 0
    found = fresh(version)
    assert found.effective.lower == LATER
    assert found.published_by == "fiona@example.com, approved by vic@example.com"


def test_it_refuses_the_approval_of_who_proposed_it(draft):
    both = person("olga", "finance", "approver")
    version = propose(both)
    with pytest.raises(Forbidden):
        decide(both, version)


def test_it_frees_the_draft_when_it_is_turned_down(fin, vic, draft):
    decide(vic, propose(fin), approve=False)
    publish_approved(NOW)
    assert fresh(draft).change_id is None
    with fleet_scope():
        edit_draft(fin, "list", 1, prices=lines(), why="again")
    propose(fin)


def test_it_keeps_a_proposed_draft_as_it_was_shown(fin, draft):
    propose(fin)
    with fleet_scope(), pytest.raises(Conflict):
        edit_draft(fin, "list", 1, prices=lines())
    with fleet_scope(), pytest.raises(DatabaseError), transaction.atomic():
        Price.objects.filter(book_version=draft).delete()


def test_it_does_not_publish_what_was_not_shown(fin, vic, draft):
    version = propose(fin)
    with fleet_scope():
        # What only the owner of the database could do.
        PriceBookVersion.objects.filter(pk=draft.pk).update(change_id=None)
        Price.objects.filter(book_version=draft, meter="prompt").update(unit_price=Decimal(7))
        PriceBookVersion.objects.filter(pk=draft.pk).update(change_id=version.change_id)
    decide(vic, version)
    assert publish_approved(NOW) == 0
    assert fresh(version).published_at is None


def test_a_contract_ends_in_a_year_that_calendars_have(acme, fin):
    with fleet_scope():
        book = create_contract(SYSTEM, tenant_refs([acme.pk])[acme.pk])
        draft_version(SYSTEM, book.slug, prices=lines(), why="agreed")
        with pytest.raises(Invalid, match="years 2000 to 2999"):
            propose_version(
                fin, book.slug, 1, starts_at=LATER, now=NOW,
                ends_at=datetime(9999, 12, 31, 23, tzinfo=UTC),
            )  # fmt: skip


def test_who_reads_prices_beside_a_publication_sees_a_version_with_its_prices(acme, draft):
    """Whatever is published between any two of the statements that read them."""
    make_prices()
    with fleet_scope():
        next_one = draft_version(SYSTEM, "list", prices=lines(), why="next")
        tenants = tenant_refs([acme.pk]).values()
    statements = []

    def publish_beside(execute, sql, params, many, context):
        answer = execute(sql, params, many, context)
        statements.append(sql)
        if len(statements) == 1:
            publish_version(SYSTEM, "list", next_one.number, starts_at=LATER, now=NOW)
        return answer

    with fleet_scope(), connection.execute_wrapper(publish_beside):
        (tariff,) = read_tariffs(tenants).values()
    with fleet_scope():
        (later,) = read_tariffs(tenants).values()
    assert all(version.prices for version in tariff.book)
    assert [v.id for v in later.book][-1] == next_one.pk


def test_it_refuses_to_publish_without_a_second_person(fin, draft):
    with fleet_scope(), pytest.raises(Forbidden, match="four eyes"):
        publish_version(fin, "list", 1, starts_at=LATER, now=NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"starts_at": LATER + timedelta(minutes=1)},
        {"starts_at": at(days=3).replace(minute=0), "why": ""},
        {"ends_at": LATER + timedelta(days=3)},
        {"starts_at": datetime(26, 11, 1, tzinfo=UTC)},  # as a field of two digits sends it
        {"starts_at": datetime(9999, 12, 31, tzinfo=UTC)},
    ],
)
def test_it_refuses_a_range_that_cannot_be(fin, draft, change):
    with pytest.raises(Invalid):
        propose(fin, **change)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE price SET unit_price = 0",
        "DELETE FROM price",
        "UPDATE price_book_version SET why = 'x'",
        "DELETE FROM price_book_version",
        "UPDATE price_book_version SET effective = tstzrange('2020-01-01', NULL)",
        "INSERT INTO price (book_version_id, model, meter, traffic_class, kind, unit_price, terms)"
        " SELECT id, 'new', 'prompt', '', 'unit', 1, '' FROM price_book_version",
    ],
)
def test_it_keeps_a_published_version_even_from_sql(sql):
    make_prices()
    with fleet_scope(), pytest.raises(DatabaseError), transaction.atomic():
        connection.cursor().execute(sql)
