"""Billing accounts: whom invoices are addressed to, and by which terms."""

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing.actions.documents import begin_entry
from billing.actions.grants import hold_open, payment_key
from billing.actions.journal import post
from billing.models import BillingAccount, JournalTxn
from billing.queries.accounts import Account, get_account
from billing.queries.grants import left_of
from billing.rules.accounts import AccountTerms, faults_of_terms
from billing.rules.currencies import to_units
from billing.rules.journal import legs_of_payment
from tenants.actions.audit import picture, record
from tenants.errors import Conflict, Invalid, Stale
from tenants.rules.access import Permission, Viewer
from tenants.rules.currencies import EXPONENTS


@transaction.atomic
def change_account(viewer: Viewer, slug: str, terms: AccountTerms, *, expected: int) -> Account:
    """Set how a tenant is billed, from its next invoice on. The zone holds from the next period.

    `expected` is the version that was read; 0 where nobody set anything before.
    """
    before = get_account(viewer, slug)
    viewer.require(Permission.MANAGE_MONEY, before.tenant_id)
    faults = faults_of_terms(terms, before.rated_in)
    if left := _stranded(viewer, before, terms.currency):
        faults["currency"] = (
            f"{left:f} {before.currency} of credits are left, which an invoice in another currency"
            " could never use: let them be used or end first"
        )
    if faults:
        raise Invalid(**faults)
    row = _write(before.tenant_id, terms, expected)
    verb = "billing_account.change" if expected else "billing_account.create"
    record(viewer, verb, row, before=_fields(before.chosen), after=picture(row))
    return get_account(viewer, slug)


def _stranded(viewer: Viewer, before: Account, currency: str) -> Decimal:
    """Credits that no invoice could use any more."""
    if currency == before.currency:
        return Decimal(0)
    hold_open(before.tenant_id)
    left = left_of(viewer, before.tenant_id).items()
    return sum((a for (held, _), a in left if held == before.currency), Decimal(0))


def _write(tenant_id: int, terms: AccountTerms, expected: int) -> BillingAccount:
    fields = _fields(terms)
    row = BillingAccount.objects.filter(tenant_id=tenant_id).first()
    if row is not None and expected:
        return row.change(expected, **fields)
    row, is_new = BillingAccount.objects.get_or_create(tenant_id=tenant_id, defaults=fields)
    if not is_new or expected:
        raise Stale("Somebody else changed this meanwhile: look at it again, then retry")
    return row


def _fields(terms: AccountTerms) -> dict[str, Any]:
    return asdict(terms) | {
        "name": terms.name.strip(),
        "purchase_order": terms.purchase_order.strip(),
        "rate_source": terms.rate_source.strip(),
        "taxes": [{"name": t.name.strip(), "rate": f"{t.rate:f}"} for t in terms.taxes],
    }


@transaction.atomic
def record_payment(
    viewer: Viewer, slug: str, *, amount: Decimal, currency: str, reference: str, now: datetime
) -> JournalTxn:
    """Write down that money came in. The reference of the payer makes a repeat a refusal."""
    begin_entry()
    account = get_account(viewer, slug)
    viewer.require(Permission.MANAGE_MONEY, account.tenant_id)
    faults = {}
    if currency not in EXPONENTS:
        faults["currency"] = f"{currency!r} is no currency of ISO 4217"
    elif not amount.is_finite() or amount <= 0 or to_units(amount, currency, "HALF_UP") != amount:
        faults["amount"] = f"An amount above 0 that can be paid in {currency}"
    if not reference.strip() or len(reference) > 64:
        faults["reference"] = "Give the payment's reference, in at most 64 characters"
    if faults:
        raise Invalid(**faults)
    reference = reference.strip()
    txn = post(
        account.tenant_id,
        key=payment_key(account.tenant_id, reference),
        kind="payment",
        document=reference,
        currency=currency,
        legs=legs_of_payment(amount),
        at=now,
        by=viewer.email,
    )
    if txn is None:
        raise Conflict(f"A payment with the reference {reference} stands in the books already")
    record(viewer, "payment.record", txn, after={"amount": str(amount), "currency": currency})
    return txn
