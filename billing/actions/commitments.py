"""Warn before the minimum of a contract ends: what is not used by then is paid for nothing."""

from datetime import datetime

from billing.actions.alerts import alone, keep_alert
from billing.models import BudgetAlert
from billing.queries.commitments import MinimumUse, ending_minima
from billing.rules.alerts import COMMITMENT
from billing.rules.webhooks import Kind
from tenants.base.scope import fleet_scope


def warn_of_ends(now: datetime) -> int:
    """Tell each warning that is due once. Returns how many are new."""
    with fleet_scope():
        due = ending_minima(None, now=now)
        if not due or not alone():
            return 0
        rows = BudgetAlert.objects.filter(
            kind=COMMITMENT, series__in={u.minimum.version_id for u in due}
        )
        known = set(rows.values_list("series", "threshold"))
        fresh = [u for u in due if (u.minimum.version_id, u.warning) not in known]
        for use in fresh:
            said = f"{use.warning} days before a minimum ends"
            keep_alert(_alert(use, now), Kind.COMMITMENT_ENDS, said, _facts(use))
        return len(fresh)


def _alert(use: MinimumUse, now: datetime) -> BudgetAlert:
    minimum = use.minimum
    assert use.warning is not None
    return BudgetAlert(
        tenant_id=minimum.tenant.id,
        series=minimum.version_id,
        kind=COMMITMENT,
        period=minimum.month,
        threshold=use.warning,
        budget=minimum.amount,
        spent=use.used,
        currency=minimum.currency,
        at=now,
    )


def _facts(use: MinimumUse) -> dict[str, object]:
    minimum = use.minimum
    assert minimum.contract_ends_at is not None
    return {
        "contract": minimum.book,
        "version": minimum.number,
        "currency": minimum.currency,
        "ends_at": minimum.contract_ends_at.isoformat(),
        "days_before_end": use.warning,
        "period": minimum.month,
        "minimum": f"{minimum.amount:f}",
        "used": f"{use.used:f}",
        "unused": f"{use.unused:f}",
    }
