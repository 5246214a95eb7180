"""Credits of an account: asked for by one person, approved by another, used by invoices.

waiting -> active -> expired, or waiting -> refused. What happens to a grant's money is an entry
that is never changed; the journal has the money that was paid ahead.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from billing.actions.documents import begin_entry
from billing.actions.journal import post
from billing.models import (
    CreditEntry,
    CreditGrant,
    CreditNote,
    Invoice,
    InvoiceLine,
    JournalTxn,
)
from billing.queries.accounts import accounts_of, get_account
from billing.queries.grants import rests_of
from billing.rules.documents import amount_text
from billing.rules.grants import (
    Draw,
    EntryKind,
    GrantState,
    GrantTerms,
    Scope,
    Use,
    faults_of_grant,
)
from billing.rules.journal import (
    Leg,
    legs_of_breakage,
    legs_of_prepaid_return,
    legs_of_prepaid_use,
    legs_of_prepayment,
)
from tenants.actions import changes
from tenants.actions.audit import record
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Invalid
from tenants.queries.changes import Decision, decision_of
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer, system_viewer
from tenants.rules.changes import digest_of

KIND = "credit_grant"  # of changes


@transaction.atomic
def ask_for_grant(
    viewer: Viewer, slug: str, terms: GrantTerms, *, why: str, now: datetime
) -> CreditGrant:
    """Ask another person to grant a credit to an account."""
    account = get_account(viewer, slug)
    viewer.require(Permission.MANAGE_MONEY, account.tenant_id)
    faults = faults_of_grant(terms, account.currency, now)
    if not why.strip():
        faults["why"] = "Say why: another person decides by this"
    if faults:
        raise Invalid(**faults)
    _refuse_reference(account.tenant_id, terms)
    grant = CreditGrant.objects.create(
        tenant_id=account.tenant_id,
        name=terms.name.strip(),
        amount=terms.amount,
        currency=terms.currency,
        paid=terms.paid,
        reference=terms.reference.strip(),
        priority=terms.priority,
        model=terms.scope.model.strip(),
        meter=terms.scope.meter,
        expires_at=terms.expires_at,
        why=why.strip(),
        asked_by=viewer.email,
        asked_at=now,
    )
    kind = "prepaid" if grant.paid else "promotional"
    change = changes.propose(
        viewer,
        kind=KIND,
        target_id=grant.pk,
        title=f"{slug}-credit-{grant.pk}: grant {_text(grant)}, {kind}",
        payload=payload_of(grant, slug),
        reason=why,
        permission=Permission.MANAGE_MONEY,
    )
    grant.change_id = change.pk
    grant.save(update_fields=["change_id"])
    record(viewer, "credit.ask", grant, after=payload_of(grant, slug), why=why)
    return grant


def payload_of(grant: CreditGrant, slug: str) -> dict[str, Any]:
    """Everything that the approval binds to."""
    return {
        "tenant": slug,
        "name": grant.name,
        "amount": _text(grant),
        "prepaid": grant.paid,
        "reference": grant.reference,
        "priority": grant.priority,
        "pays_for": str(Scope(grant.model, grant.meter)),
        "expires_at": grant.expires_at.isoformat() if grant.expires_at else "never",
    }


def _text(grant: CreditGrant) -> str:
    return f"{amount_text(grant.amount, grant.currency)} {grant.currency}"


def _refuse_reference(tenant_id: int, terms: GrantTerms) -> None:
    """A payment is booked once: as one of an invoice, or as one ahead."""
    reference = terms.reference.strip()
    waiting = CreditGrant.objects.filter(
        tenant_id=tenant_id, reference=reference, state=GrantState.WAITING
    )
    booked = JournalTxn.objects.filter(key=payment_key(tenant_id, reference))
    if terms.paid and (booked.exists() or waiting.exists()):
        raise Conflict(f"A payment with the reference {reference} stands in the books already")


def payment_key(tenant_id: int, reference: str) -> str:
    return f"payment:{tenant_id}:{reference}"


def apply_decisions(now: datetime) -> int:
    """Make active what was approved, put the rest away. Returns how many were decided."""
    decided = 0
    with fleet_scope():
        begin_entry()
        rows = CreditGrant.objects.select_for_update(skip_locked=True, no_key=True)
        waiting = rows.filter(state=GrantState.WAITING, change_id__isnull=False)
        for grant in waiting.order_by("id"):
            assert grant.change_id is not None
            answer = decision_of(grant.change_id)
            if answer.is_final:
                _settle(grant, answer, now)
                decided += 1
    return decided


def hold_open(tenant_id: int) -> None:
    """Until the end of the transaction none of an account's credits becomes active or ends: what
    is being decided is waited for, and what waits is decided by what is written meanwhile."""
    rows = CreditGrant.objects.select_for_update(no_key=True).filter(tenant_id=tenant_id)
    list(rows.filter(state__in=(GrantState.WAITING, GrantState.ACTIVE)).order_by("id"))


def _settle(grant: CreditGrant, answer: Decision, now: datetime) -> None:
    viewer = system_viewer("credits")
    slug = answer.payload["tenant"]
    same = digest_of(payload_of(grant, slug)) == answer.digest
    by = f"{answer.requester}, approved by {answer.decider}"[:254]
    fault = _fault_by_now(grant, now)
    is_granted = answer.is_approved and same and not fault and _book(grant, by, now)
    grant.state = (GrantState.ACTIVE if is_granted else GrantState.REFUSED).value
    grant.decided_by = answer.decider
    grant.save(update_fields=["state", "decided_by"])
    if is_granted:
        _enter(grant, EntryKind.GRANTED, grant.amount, by=by, at=now)
    after = {"state": grant.state} | ({"fault": fault} if fault else {})
    record(viewer, f"credit.{grant.state}", grant, after=after, why=answer.reason)


def _fault_by_now(grant: CreditGrant, now: datetime) -> str:
    """Why nobody could use what was asked for: approvals may take days."""
    if grant.expires_at is not None and grant.expires_at <= now:
        return f"It would have ended at {grant.expires_at:%Y-%m-%d %H:%M} UTC"
    tenant = tenant_refs([grant.tenant_id])[grant.tenant_id]
    currency = accounts_of([tenant])[tenant.id].currency
    return "" if currency == grant.currency else f"The account is invoiced in {currency} now"


def _book(grant: CreditGrant, by: str, now: datetime) -> bool:
    """The payment of a prepaid credit. False: its reference was booked meanwhile."""
    if not grant.paid:
        return True
    txn = post(
        grant.tenant_id,
        key=payment_key(grant.tenant_id, grant.reference),
        kind="prepayment",
        document=grant.reference,
        currency=grant.currency,
        legs=legs_of_prepayment(grant.amount),
        at=now,
        by=by,
    )
    return txn is not None


def _enter(grant: CreditGrant, kind: EntryKind, amount: Decimal, *, by: str, at: datetime) -> None:
    CreditEntry.objects.create(
        tenant_id=grant.tenant_id, grant=grant, kind=kind.value, amount=amount, by=by, at=at
    )


def use_on(
    invoice: Invoice, lines: Mapping[int, InvoiceLine], draws: Iterable[Draw], *, by: str
) -> None:
    """Write down what an invoice drew, in its transaction. `lines` by their place on the bill."""
    found = list(draws)
    CreditEntry.objects.bulk_create(
        CreditEntry(
            tenant_id=invoice.tenant_id,
            grant_id=d.grant.id,
            kind=EntryKind.USED.value,
            amount=-d.amount,
            invoice=invoice,
            line=lines[d.place],
            at=invoice.issued_at,
            by=by,
        )
        for d in found
    )
    prepaid = sum((d.amount for d in found if d.grant.paid), Decimal(0))
    if prepaid:
        _post_prepaid(invoice, "prepaid", "prepaid_use", legs_of_prepaid_use(prepaid), by=by)


def give_back(note: CreditNote, undone: Mapping[int, Iterable[Use]], *, by: str) -> None:
    """Give grants what a credit note undid, in its transaction. `undone` by line of the invoice.

    What was paid ahead is owed ahead again, in place of lowering what the invoice asks for.
    """
    found = [(line_id, use) for line_id, uses in undone.items() for use in uses]
    CreditEntry.objects.bulk_create(
        CreditEntry(
            tenant_id=note.tenant_id,
            grant_id=use.grant_id,
            kind=EntryKind.UNDONE.value,
            amount=use.amount,
            invoice=note.invoice,
            line_id=line_id,
            note=note,
            at=note.issued_at,
            by=by,
        )
        for line_id, use in found
    )
    prepaid = sum((use.amount for _, use in found if use.paid), Decimal(0))
    if prepaid:
        legs = legs_of_prepaid_return(prepaid)
        _post_prepaid(note, "prepaid-back", "prepaid_back", legs, by=by)


def _post_prepaid(
    document: Invoice | CreditNote, prefix: str, kind: str, legs: Sequence[Leg], *, by: str
) -> None:
    post(
        document.tenant_id,
        key=f"{prefix}:{document.issuer[:80]}:{document.number}",
        kind=kind,
        document=document.number,
        currency=document.currency,
        legs=legs,
        at=document.issued_at,
        by=by,
    )


def expire_due(now: datetime) -> int:
    """End the credits whose time is over; what was paid for and not used is breakage."""
    with fleet_scope():
        begin_entry()
        rows = CreditGrant.objects.select_for_update(skip_locked=True, no_key=True)
        return _expire_all(rows.filter(expires_at__lte=now), now)


def expire_of(tenant_id: int, now: datetime) -> None:
    """The same of one account at once, in the open scope: before a document gives back to credits
    what they paid. Given to one whose time is over, it would end with it."""
    rows = CreditGrant.objects.select_for_update(no_key=True)
    _expire_all(rows.filter(tenant_id=tenant_id, expires_at__lte=now), now)


def _expire_all(rows: QuerySet[CreditGrant], now: datetime) -> int:
    due = list(rows.filter(state=GrantState.ACTIVE).order_by("id"))
    rests = rests_of(due)
    for grant in due:
        _expire(grant, rests.get(grant.pk, Decimal(0)), now)
    return len(due)


def _expire(grant: CreditGrant, rest: Decimal, now: datetime) -> None:
    viewer = system_viewer("credits")
    grant.state = GrantState.EXPIRED.value
    grant.save(update_fields=["state"])
    if rest:
        _enter(grant, EntryKind.EXPIRED, -rest, by=viewer.email, at=now)
    if rest and grant.paid:
        post(
            grant.tenant_id,
            key=f"breakage:{grant.pk}",
            kind="breakage",
            document=grant.reference,
            currency=grant.currency,
            legs=legs_of_breakage(rest),
            at=now,
            by=viewer.email,
        )
    record(viewer, "credit.expire", grant, after={"expired": f"{rest:f}"})
