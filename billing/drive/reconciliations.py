"""The pass over checks of the books: one a day by itself, and those that people asked for.

A worker that dies leaves a row that waits; the next pass takes it up and works it out anew.
"""

import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from billing.actions.events import tell
from billing.actions.reconciliations import open_check
from billing.drive.checks import check_all
from billing.models import Reconciliation
from billing.queries.sums import Check
from billing.rules.webhooks import Kind
from tenants.base.claims import claimed
from tenants.base.scope import fleet_scope

EACH = timedelta(days=1)
TOLD = 10  # sums that a message names


def reconcile_due(now: datetime) -> int:
    """Check what waits. Returns how many checks were done."""
    with fleet_scope():
        if not Reconciliation.objects.filter(requested_at__gt=now - EACH).exists():
            open_check("", now)
        waiting = Reconciliation.objects.filter(
            state=Reconciliation.State.WAITING, look_again__lte=now
        )
        due = list(waiting.values_list("id", flat=True))
    return sum(_work(pk, now) for pk in due)


def _work(pk: int, now: datetime) -> int:
    with claimed(Reconciliation, pk) as claim:
        if claim is None:
            return 0
        with fleet_scope():
            since = Reconciliation.objects.values_list("since", flat=True).get(pk=pk)
        began = time.monotonic()
        found = check_all(since, now)
        return _keep(pk, claim, found, time.monotonic() - began, now)


def _keep(pk: int, claim: UUID, found: list[Check], seconds: float, now: datetime) -> int:
    wrong = [check for check in found if not check.holds]
    with fleet_scope():
        kept = Reconciliation.record(
            pk,
            claim,
            state=Reconciliation.State.DONE,
            finished_at=now + timedelta(seconds=seconds),
            seconds=seconds,
            wrong=len(wrong),
            sums=[as_kept(check) for check in found],
            look_again=None,
            failures=0,
        )
        if kept and wrong:
            told = {"reconciliation_id": pk, "wrong": len(wrong), "sums": _said(wrong)}
            subject = f"{len(wrong)} sums do not agree: {wrong[0].sentence}"
            tell(Kind.DIFFER, subject, told, tenant_id=None, now=now)
    return int(kept)


def as_kept(check: Check) -> dict[str, Any]:
    return {
        "sentence": check.sentence,
        "left": f"{check.left:f}",
        "right": f"{check.right:f}",
        "wrong": check.wrong,
        "named": list(check.named),
    }


def _said(wrong: list[Check]) -> list[str]:
    return [f"{check.sentence}: {check.said}" for check in wrong[:TOLD]]
