"""Posting to the journal. The legs go in as one statement, which a trigger weighs."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from billing.models import JournalLeg, JournalTxn
from billing.rules.journal import Leg


@transaction.atomic
def post(
    tenant_id: int,
    *,
    key: str,
    kind: str,
    document: str,
    currency: str,
    legs: Sequence[Leg],
    at: datetime,
    by: str,
) -> JournalTxn | None:
    """Write a transaction once. None: its key stands in the books already."""
    fresh = JournalTxn(tenant_id=tenant_id, key=key, kind=kind, document=document, at=at, by=by)
    JournalTxn.objects.bulk_create([fresh], ignore_conflicts=True)
    txn = JournalTxn.objects.get(key=key)
    if JournalLeg.objects.filter(txn=txn).exists():
        return None
    JournalLeg.objects.bulk_create(
        JournalLeg(
            tenant_id=tenant_id, txn=txn, account=leg.account, currency=currency, amount=leg.amount
        )
        for leg in legs
    )
    return txn
