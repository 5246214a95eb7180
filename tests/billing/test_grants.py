"""Credits: asked and approved by two, written once, spent once."""

from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing.actions.accounts import record_payment
from billing.actions.grants import apply_decisions, ask_for_grant
from billing.models import CreditEntry, CreditGrant
from billing.queries.grants import get_grant, list_entries, list_grants
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid, NotFound
from tests.billing import factories
from tests.billing.books import (
    NOVEMBER,
)
from tests.billing.factories import SYSTEM
from tests.billing.granted import (
    TERMS,
    ask,
    decide,
    fresh,
    granted,
    person,
)


@pytest.mark.django_db
def test_it_is_usable_once_somebody_else_approved_it(fin, vic, acme):
    grant = ask(fin, acme)
    assert apply_decisions(NOVEMBER) == 0
    assert (fresh(grant).state, fresh(grant).rest) == ("waiting", 0)
    found = decide(vic, grant)
    assert (found.state, found.rest, found.decided_by) == ("active", 10, "vic@example.com")
    assert apply_decisions(NOVEMBER) == 0


@pytest.mark.django_db
def test_it_refuses_the_approval_of_who_asked(acme):
    both = person("olga", "finance", "approver")
    with pytest.raises(Forbidden):
        decide(both, ask(both, acme))


@pytest.mark.django_db
def test_a_rejected_credit_is_refused_for_good(fin, vic, acme):
    grant = decide(vic, ask(fin, acme), approve=False)
    assert (grant.state, grant.rest) == ("refused", 0)


@pytest.mark.django_db
def test_the_database_makes_no_credit_active_without_an_approved_change(fin, acme):
    grant = ask(fin, acme)
    for change in ({"state": "active"}, {"amount": 99}, {"state": "expired"}):
        with (
            fleet_scope(),
            pytest.raises(DatabaseError, match="approved change|never changes"),
            transaction.atomic(),
        ):
            CreditGrant.objects.filter(pk=grant.pk).update(**change)
    with fleet_scope(), pytest.raises(DatabaseError, match="never deleted"), transaction.atomic():
        CreditGrant.objects.filter(pk=grant.pk)._raw_delete("default")


@pytest.mark.django_db
def test_it_asks_for_a_reason_and_the_right(fin, acme, mallory, olga):
    with fleet_scope(), pytest.raises(Invalid, match="another person decides"):
        ask_for_grant(fin, "acme", TERMS, why=" ", now=NOVEMBER)
    with fleet_scope(), pytest.raises(Forbidden):
        ask_for_grant(olga, "acme", TERMS, why="mine", now=NOVEMBER)
    with scope_of(mallory), pytest.raises(NotFound):
        ask_for_grant(mallory, "acme", TERMS, why="mine", now=NOVEMBER)


@pytest.mark.django_db
def test_a_stranger_finds_no_credit_and_the_tenants_people_see_theirs(fin, vic, acme, mallory):
    grant = granted(fin, vic, acme)
    with scope_of(mallory):
        assert not list_grants(mallory)
        with pytest.raises(NotFound):
            get_grant(mallory, grant.pk)
    own = factories.viewer("finance", acme)
    with scope_of(own):
        assert [g.rest for g in list_grants(own)] == [10]
        assert list_entries(own, get_grant(own, grant.pk)).get().left == 10
        with pytest.raises(Forbidden):
            ask_for_grant(own, "acme", TERMS, why="mine", now=NOVEMBER)


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["UPDATE credit_entry SET amount = 0", "DELETE FROM credit_entry"])
def test_entries_are_written_once(fin, vic, acme, verb):
    granted(fin, vic, acme)
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match="never changed or deleted"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(verb)


@pytest.mark.django_db
def test_the_database_refuses_to_spend_more_than_was_granted(fin, vic, acme):
    grant = granted(fin, vic, acme)
    with fleet_scope(), pytest.raises(DatabaseError, match="spent once"), transaction.atomic():
        CreditEntry.objects.create(
            tenant_id=acme.pk, grant=grant, kind="used", amount=-11, at=NOVEMBER, by="mallory"
        )


@pytest.mark.django_db
def test_a_payment_is_booked_once_ahead_or_for_an_invoice(fin, vic, acme):
    first = ask(fin, acme, paid=True, reference="bank-1")
    with pytest.raises(Conflict, match="bank-1 stands in the books"):
        ask(fin, acme, paid=True, reference="bank-1")
    with fleet_scope():
        record_payment(
            SYSTEM, "acme", amount=Decimal(10), currency="USD", reference="bank-1", now=NOVEMBER
        )
    assert decide(vic, first).state == "refused", "it was booked meanwhile"
    with pytest.raises(Conflict, match="bank-1 stands in the books"):
        ask(fin, acme, paid=True, reference="bank-1")
