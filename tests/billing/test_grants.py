"""Credits: four eyes, drawn in order and never twice, taxed or paid as they are, expired once."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.actions.accounts import record_payment
from billing.actions.credits import Given, issue_credit_note
from billing.actions.grants import apply_decisions, ask_for_grant, expire_due
from billing.actions.invoices import issue_invoices
from billing.drive.rows import Evidence, rows_of
from billing.models import CreditEntry, CreditGrant, JournalLeg, LedgerAccount
from billing.queries.accounts import balances, statement
from billing.queries.charged import ChargeFilter
from billing.queries.checks import run_checks
from billing.queries.grants import get_grant, left_of, list_entries, list_grants
from billing.queries.invoices import get_invoice
from billing.rules.grants import Balance, GrantTerms, Item, Scope, draw_down, faults_of_grant
from billing.rules.invoices import ChargeSum, LineKind, Tax, Terms, make_bill
from billing.rules.journal import ACCOUNTS, legs_of_invoice
from tenants.actions import changes
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid, NotFound
from tenants.models import ChangeRequest, User
from tenants.rules.access import Binding, Role, Viewer
from tests.billing import factories
from tests.billing.books import (
    NOVEMBER,
    OCTOBER,
    bill_month,
    close_month,
    find_period,
    set_account,
    spend,
    tax,
)
from tests.billing.factories import SYSTEM, make_prices

PRICES = {
    "chat": {"prompt": Decimal(1_000_000), "cached": Decimal(0), "completion": Decimal(2_000_000)},
    "code": {"prompt": Decimal(1_000_000), "cached": Decimal(0), "completion": Decimal(2_000_000)},
}
TERMS = GrantTerms("Welcome", Decimal("10"), "USD", False, "", 100, Scope(), None)
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
AT = datetime(2026, 10, 1, tzinfo=UTC)


def person(name, *roles):
    user = User.objects.create(email=f"{name}@example.com")
    bindings = tuple(Binding(Role(r)) for r in roles)
    return Viewer(user_id=user.pk, email=user.email, bindings=bindings)


@pytest.fixture
def fin(db):
    return person("fiona", "finance")


@pytest.fixture
def vic(db):
    return person("vic", "approver")


@pytest.fixture
def priced(db):
    make_prices(PRICES)


def ask(fin, tenant, *, now=NOVEMBER, **fields):
    with fleet_scope():
        terms = replace(TERMS, **fields)
        return ask_for_grant(fin, tenant.slug, terms, why="agreed", now=now)


def decide(vic, grant, *, approve=True, now=NOVEMBER):
    with fleet_scope():
        change = ChangeRequest.objects.get(pk=grant.change_id)
        changes.decide(vic, change.pk, digest=change.digest, approve=approve, why="seen")
    assert apply_decisions(now) == 1
    return fresh(grant)


def fresh(grant):
    with fleet_scope():
        return get_grant(SYSTEM, grant.pk)


def granted(fin, vic, tenant, **fields):
    return decide(vic, ask(fin, tenant, **fields))


def buy(gateway, tenant, prompt, *, model="chat", completion=0, **more):
    spend(
        gateway, tenant, model=model, prompt_tokens=prompt, cached_tokens=0,
        completion_tokens=completion, **more,
    )  # fmt: skip


def legs(account):
    return JournalLeg.objects.filter(account=account).aggregate(s=Sum("amount"))["s"] or 0


def all_checks_hold():
    with fleet_scope():
        assert [c for c in run_checks(OCTOBER - timedelta(days=40)) if not c.holds] == []


# The rule


amounts = st.decimals(min_value=-1_000, max_value=1_000, places=2)
items = st.lists(
    st.builds(
        Item, st.sampled_from(["chat", "code"]), st.sampled_from(["prompt", "cached"]), amounts
    ),
    max_size=8,
)
scopes = st.builds(Scope, st.sampled_from(["", "chat"]), st.sampled_from(["", "prompt"]))
balances_of = st.lists(
    st.builds(
        Balance,
        id=st.integers(1, 99),
        name=st.just("credit"),
        paid=st.booleans(),
        priority=st.integers(1, 3),
        expires_at=st.sampled_from([None, AT, AT + timedelta(days=1)]),
        scope=scopes,
        rest=st.decimals(min_value=0, max_value=500, places=2),
    ),
    max_size=5,
    unique_by=lambda g: g.id,
)


def sum_of(found):
    return sum(found, Decimal(0))


@patient
@given(items, balances_of)
def test_it_draws_never_more_than_the_credit_the_line_and_the_charges_in_scope(lines, grants):
    draws = draw_down(lines, grants)
    assert all(d.amount > 0 for d in draws)
    for grant in grants:
        mine = [d for d in draws if d.grant is grant]
        assert sum_of(d.amount for d in mine) <= grant.rest
        assert all(grant.scope.covers(lines[d.place].model, lines[d.place].meter) for d in mine)
        inside = sum_of(i.amount for i in lines if grant.scope.covers(i.model, i.meter))
        assert sum_of(d.amount for d in mine) <= max(inside, 0)
    for place, line in enumerate(lines):
        assert sum_of(d.amount for d in draws if d.place == place) <= max(line.amount, 0)
    assert sum_of(d.amount for d in draws) <= max(sum_of(i.amount for i in lines), 0)


@patient
@given(items, balances_of)
def test_it_draws_all_it_may_of_what_comes_first(lines, grants):
    """A grant that is not used up leaves nothing in its scope for a later one of that scope."""
    draws = draw_down(lines, grants)
    ordered = sorted(grants, key=lambda g: g.order)
    assert [d.grant.id for d in draws] == sorted(
        (d.grant.id for d in draws), key=[g.id for g in ordered].index
    )
    for n, grant in enumerate(ordered):
        if sum_of(d.amount for d in draws if d.grant is grant) < grant.rest:
            later = [g for g in ordered[n + 1 :] if g.scope == grant.scope]
            assert not [d for d in draws if d.grant in later]


@patient
@given(items, balances_of)
def test_the_order_in_which_grants_are_named_changes_nothing(lines, grants):
    assert draw_down(lines, grants) == draw_down(lines, grants[::-1])


@patient
@given(items, balances_of, st.sampled_from(["line", "invoice"]))
def test_a_bill_with_credits_adds_up_in_rows_and_legs(lines, grants, per):
    terms = Terms("USD", "HALF_EVEN", (Tax("VAT", Decimal("0.19")),), per)
    sums = [
        ChargeSum(
            i.model, i.meter, Decimal(1), i.amount, i.amount + Decimal("0.001"), 1, "", AT, AT
        )
        for i in lines
    ]
    bill = make_bill(sums, terms, grants)
    assert sum(r.amount for r in bill.rows) == sum(r.exact for r in bill.rows) == bill.total
    assert bill.net == sum_of(r.amount for r in bill.rows if r.kind != LineKind.TAX)
    assert bill.prepaid <= max(bill.net, 0)
    found = legs_of_invoice(exact=bill.exact, net=bill.net, tax=bill.tax, promoted=bill.promoted)
    assert sum(leg.amount for leg in found) == 0


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("name", {"name": " "}),
        ("currency", {"currency": "EUR"}),
        ("amount", {"amount": Decimal(0)}),
        ("amount", {"amount": Decimal("0.001")}),
        ("amount", {"amount": Decimal("NaN")}),
        ("reference", {"paid": True}),
        ("reference", {"reference": "bank-1"}),
        ("priority", {"priority": 0}),
        ("meter", {"scope": Scope("", "water")}),
        ("expires_at", {"expires_at": NOVEMBER}),
    ],
)
def test_it_refuses_a_credit_that_makes_no_sense(field, changed):
    assert faults_of_grant(TERMS, "USD", NOVEMBER) == {}
    assert set(faults_of_grant(replace(TERMS, **changed), "USD", NOVEMBER)) == {field}


# Four eyes


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


# Invoices


@pytest.mark.django_db
def test_a_promotion_lowers_the_net_and_its_tax(fin, vic, priced, acme, gateway):
    set_account(acme, taxes=(tax("VAT", "0.10"),))
    buy(gateway, acme, 30)
    granted(fin, vic, acme)
    invoice = bill_month(acme)
    assert (invoice.net, invoice.tax, invoice.total) == (20, 2, 22)
    with fleet_scope():
        line = invoice.lines.get(kind="promotion")
        assert (line.name, line.amount, line.exact) == ("Welcome", -10, -10)
        assert legs("promotions") == 10
        assert legs("revenue") == -30
        assert legs("receivable") == 22
        document = json.loads(invoice.snapshot)
    assert document["to_pay"] == "22.00"
    assert document["lines"][1]["amount"] == "-10.00"
    all_checks_hold()


@pytest.mark.django_db
def test_a_prepaid_credit_pays_the_total_and_leaves_net_and_tax(fin, vic, priced, acme, gateway):
    set_account(acme, taxes=(tax("VAT", "0.10"),))
    buy(gateway, acme, 30)
    granted(fin, vic, acme, paid=True, reference="bank-7", amount=Decimal(100), name="Prepaid")
    with fleet_scope():
        assert (legs("bank"), legs("prepaid_credits")) == (100, -100)
    invoice = bill_month(acme)
    assert (invoice.net, invoice.tax, invoice.total) == (30, 3, 33)
    with fleet_scope():
        found = get_invoice(SYSTEM, invoice.number)
        assert (found.prepaid, found.to_pay) == (30, 3)
        assert legs("prepaid_credits") == -70
        assert balances(SYSTEM)[acme.pk] == {"USD": Decimal(3)}
        entries = [(e.txn.kind, e.amount) for e in statement(SYSTEM, acme.pk)]
        assert entries == [("prepaid_use", -30), ("invoice", 33)]
        assert left_of(SYSTEM, acme.pk) == {("USD", True): Decimal(70)}
        document = json.loads(invoice.snapshot)
        assert document["prepaid"][0] | {"grant": 0} == {
            "grant": 0, "name": "Prepaid", "amount": "30.00"
        }  # fmt: skip
        assert document["to_pay"] == "3.00"
        note = issue_credit_note(
            SYSTEM, invoice.number, lines=[Given(1, Decimal(5))], why="outage", now=NOVEMBER
        )
        assert note.total == Decimal("5.50"), "what was paid ahead can be given back"
    all_checks_hold()


@pytest.mark.django_db
def test_it_draws_by_priority_then_by_what_expires_first(fin, vic, priced, acme, gateway):
    buy(gateway, acme, 25)
    last = granted(fin, vic, acme, priority=200)
    late = granted(fin, vic, acme, expires_at=NOVEMBER + timedelta(days=9))
    soon = granted(fin, vic, acme, expires_at=NOVEMBER + timedelta(days=2))
    bill_month(acme)
    assert [fresh(g).rest for g in (soon, late, last)] == [0, 0, 5]
    all_checks_hold()


@pytest.mark.django_db
def test_it_pays_only_for_what_it_is_for(fin, vic, priced, acme, gateway):
    buy(gateway, acme, 4, completion=3)
    buy(gateway, acme, 5, model="code", completion=1)
    by_meter = granted(fin, vic, acme, scope=Scope("", "completion"), amount=Decimal(20))
    by_service = granted(fin, vic, acme, scope=Scope("code", ""), amount=Decimal(20))
    invoice = bill_month(acme)
    assert [fresh(g).rest for g in (by_meter, by_service)] == [12, 15]
    assert invoice.total == 4
    with fleet_scope():
        lines = [
            (e.line.model, e.line.meter, e.amount) for e in by_service.entries.filter(kind="used")
        ]
    assert lines == [("code", "prompt", -5)]
    all_checks_hold()


@pytest.mark.django_db
def test_what_is_left_pays_on_the_next_invoice(fin, vic, priced, acme, gateway):
    buy(gateway, acme, 6)
    buy(gateway, acme, 6, at=OCTOBER + timedelta(days=31))
    grant = granted(fin, vic, acme)
    later = NOVEMBER + timedelta(days=15)
    assert bill_month(acme).total == 0
    assert bill_month(acme, "2026-11", now=later).total == 2
    with fleet_scope():
        rows = list_entries(SYSTEM, fresh(grant))
        assert [(e.kind, e.amount, e.left) for e in rows] == [
            ("used", -4, 0),
            ("used", -6, 4),
            ("granted", 10, 10),
        ]
    all_checks_hold()


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


# Expiry


@pytest.mark.django_db
def test_what_expires_is_breakage_once_and_pays_for_nothing_more(fin, vic, priced, acme, gateway):
    buy(gateway, acme, 6)
    end = NOVEMBER + timedelta(days=1)
    paid = granted(fin, vic, acme, paid=True, reference="bank-1", expires_at=end)
    free = granted(fin, vic, acme, expires_at=end, priority=200)
    bill_month(acme)
    assert expire_due(end - timedelta(seconds=1)) == 0
    assert expire_due(end) == 2
    assert expire_due(end) == 0
    assert [(fresh(g).state, fresh(g).rest) for g in (paid, free)] == [("expired", 0)] * 2
    with fleet_scope():
        assert legs("breakage") == -4
        assert legs("prepaid_credits") == 0
        assert legs("promotions") == 0
    all_checks_hold()


@pytest.mark.django_db
def test_an_invoice_draws_on_nothing_whose_time_is_over(fin, vic, priced, acme, gateway):
    buy(gateway, acme, 6)
    grant = granted(fin, vic, acme, expires_at=NOVEMBER + timedelta(hours=1))
    assert bill_month(acme, now=NOVEMBER + timedelta(hours=1)).total == 6
    assert fresh(grant).rest == 10


# Concurrency


@pytest.mark.django_db(transaction=True)
def test_two_invoices_at_once_spend_a_credit_once(gateway):
    """Two periods of one account and two threads: together they use what was granted, no more."""
    make_prices(PRICES)
    acme = factories.make_tenant("acme")
    fin, vic = person("fiona", "finance"), person("vic", "approver")
    buy(gateway, acme, 8)
    buy(gateway, acme, 8, at=OCTOBER + timedelta(days=31))
    grant = granted(fin, vic, acme)
    later = NOVEMBER + timedelta(days=15)
    periods = [close_month(acme, now=later).pk, close_month(acme, "2026-11", now=later).pk]
    totals, faults, gate = [], [], threading.Barrier(3)

    def work(job):
        gate.wait()
        try:
            totals.append(job())
        except Exception as error:  # noqa: BLE001  # told by the main thread
            faults.append(error)
        finally:
            connection.close()

    def bill(period_id):
        with fleet_scope():
            return sum(i.total for i in issue_invoices(SYSTEM, period_id, now=later))

    jobs = [lambda: bill(periods[0]), lambda: bill(periods[1]), lambda: expire_due(later)]
    threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sum(totals) == 6
    assert fresh(grant).rest == 0
    with fleet_scope():
        assert find_period(acme).state == "closed"
    all_checks_hold()


@pytest.mark.django_db
@pytest.mark.parametrize("format", ["focus-1.4", "focus-1.3", "focus-1.2"])
def test_a_focus_file_has_the_promotion_and_adds_up(fin, vic, priced, acme, gateway, format):
    """Rows that break a rule, or do not sum to the invoice's total, would raise."""
    set_account(acme, taxes=(tax("VAT", "0.10"),))
    buy(gateway, acme, 30)
    granted(fin, vic, acme)
    granted(fin, vic, acme, paid=True, reference="bank-7", amount=Decimal(5))
    invoice = bill_month(acme)
    evidence = Evidence()
    with fleet_scope():
        wanted = ChargeFilter(invoice.period.starts_at, invoice.period.ends_at)
        rows = list(rows_of(format, wanted, evidence))
    assert [row for row in rows if "Credit" in row and "Welcome" in row]
    assert dict(evidence.invoices) == {invoice.number: invoice.total} == {"INV-000001": 22}


@pytest.mark.django_db
@pytest.mark.parametrize("format", ["focus-1.4-invoice-detail", "chargeback", "ledger"])
def test_every_other_file_takes_credits_as_well(fin, vic, priced, acme, gateway, format):
    """Rows that break a rule of their file would raise."""
    buy(gateway, acme, 30)
    granted(fin, vic, acme)
    granted(fin, vic, acme, paid=True, reference="bank-7", amount=Decimal(5))
    bill_month(acme)
    with fleet_scope():
        LedgerAccount.objects.bulk_create(
            LedgerAccount(account=name, number=str(n), name=name)
            for n, name in enumerate(ACCOUNTS, start=1000)
        )
        wanted = ChargeFilter(AT, NOVEMBER + timedelta(days=1))
        rows = list(rows_of(format, wanted, Evidence()))
    assert [row for row in rows if {"Welcome", "promotion", "promotions"} & set(row)]
