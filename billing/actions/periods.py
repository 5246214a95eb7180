"""Billing periods: people close them.

open -> closing (cut-off taken, checks worked off) -> closed. Back from closed only by a change
that somebody else approved.

The close cuts, not the cut-off: checks wait for usage that is still to come (grace, quarantine,
prices, hours that are not whole), and what they wait for belongs to the month. What was rated after
the cut-off is told apart. The close holds the lock of rating, so what comes beside it is either in
the period or a correction, whatever the clocks say.
"""

from datetime import datetime, timedelta

from django.db import connection, transaction

from billing.actions.calendars import open_periods
from billing.actions.events import tell
from billing.actions.rating import LOCK as RATING_LOCK
from billing.models import BillingPeriod, PeriodSignOff
from billing.queries.billed import BilledTotal, billed_totals
from billing.queries.periods import earlier_open, get_period, period_checks
from billing.rules import periods as rules
from billing.rules.periods import Check, PeriodState
from billing.rules.webhooks import Kind
from tenants.actions import changes
from tenants.actions.audit import record
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Invalid
from tenants.queries.changes import decision_of
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer, system_viewer

KIND = "billing_period"  # of changes
MOST_NAMED = 100  # in the audit; the signature itself names each


@transaction.atomic
def start_closing(viewer: Viewer, period_id: int, *, now: datetime) -> BillingPeriod:
    """Take the cut-off and begin to work off the checks."""
    period = _locked(viewer, period_id)
    earlier = earlier_open(period)
    refusal = rules.refuse_closing(period.state, ends_at=period.ends_at, earlier=earlier, now=now)
    if refusal:
        raise Conflict(refusal)
    period.state, period.cut_off = PeriodState.CLOSING.value, now
    _keep(period, "cut_off", now=now)
    record(viewer, "billing_period.start_closing", period, after={"cut_off": now})
    return period


@transaction.atomic
def stop_closing(viewer: Viewer, period_id: int, *, why: str, now: datetime) -> BillingPeriod:
    """Back to open: nothing was closed yet."""
    period = _locked(viewer, period_id)
    if period.state != PeriodState.CLOSING:
        raise Conflict(f"The period is {period.state}; only one that is closing goes back to open")
    period.state, period.cut_off = PeriodState.OPEN.value, None
    _keep(period, "cut_off", now=now)
    record(viewer, "billing_period.stop_closing", period, why=why)
    return period


@transaction.atomic
def sign_off(
    viewer: Viewer, period_id: int, *, key: str, why: str, now: datetime, grace: timedelta
) -> PeriodSignOff:
    """Take upon oneself what stands in the way now; what comes later needs another signature."""
    period = _locked(viewer, period_id)
    if period.state != PeriodState.CLOSING:
        raise Conflict(f"The period is {period.state}; checks are signed off while it is closing")
    if not why.strip():
        raise Invalid(why="Say why: this decides about money")
    checks = {c.key.value: c for c in period_checks(viewer, period, now=now, grace=grace)}
    check = checks.get(key)
    if check is None or not check.may_sign:
        raise Conflict(f"The check {key[:20]!r} has nothing that a person can sign off")
    row = PeriodSignOff.objects.create(
        tenant_id=period.tenant_id,
        period=period,
        key=key,
        number=check.number,
        covers=check.items,
        why=why.strip(),
        by=viewer.email,
        at=now,
    )
    after = {key: check.number, "said": check.said, "covers": sorted(check.items)[:MOST_NAMED]}
    record(viewer, "billing_period.sign_off", period, after=after, why=why)
    return row


@transaction.atomic
def close(viewer: Viewer, period_id: int, *, now: datetime, grace: timedelta) -> BillingPeriod:
    """Close the books of a period whose checks are green. No rating runs meanwhile."""
    viewer.require(Permission.MANAGE_MONEY, get_period(viewer, period_id).tenant_id)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [RATING_LOCK])
    period = _locked(viewer, period_id)
    checks = period_checks(viewer, period, now=now, grace=grace)
    if refusal := rules.refuse_close(period.state, checks):
        raise Conflict(refusal)
    period.state, period.closed_at, period.closed_by = PeriodState.CLOSED.value, now, viewer.email
    _keep(period, "closed_at", "closed_by", now=now)
    # Corrections of what is closed now need a period to be billed in.
    open_periods(tenant_refs([period.tenant_id]).values(), now)
    facts = _facts(period, checks)
    record(viewer, "billing_period.close", period, after=facts)
    told = {**_named(period), "cut_off": str(period.cut_off)}
    told |= {name: facts[name] for name in ("billed", "since_cut_off")}
    tell(Kind.PERIOD_CLOSED, period.name, told, tenant_id=period.tenant_id, now=now)
    return period


def _named(period: BillingPeriod) -> dict[str, object]:
    return {
        "period_id": period.pk,
        "period": period.name,
        "starts_at": period.starts_at.isoformat(),
        "ends_at": period.ends_at.isoformat(),
    }


def _facts(period: BillingPeriod, checks: list[Check]) -> dict[str, object]:
    totals = billed_totals(period)
    return {
        "cut_off": period.cut_off,
        "checks": {c.key.value: c.said for c in checks},
        "billed": {_kind(t): f"{t.amount:f}" for t in totals},
        "since_cut_off": {_kind(t): f"{t.since_cut_off:f}" for t in totals if t.since_cut_off},
    }


def _kind(total: BilledTotal) -> str:
    return f"{total.currency} {'corrections' if total.corrects else 'usage'}"


@transaction.atomic
def ask_to_reopen(viewer: Viewer, period_id: int, *, why: str) -> BillingPeriod:
    """Ask another person to open a closed period again. Invoices that were issued stay."""
    period = _locked(viewer, period_id)
    if period.state != PeriodState.CLOSED:
        raise Conflict(f"The period is {period.state}; only a closed one is opened again")
    if period.change_id is not None:  # decided or not: another would take its place
        raise Conflict("It was asked for already: see Approvals, what is approved opens in seconds")
    if not why.strip():
        raise Invalid(why="Say why: another person decides by this")
    tenant = tenant_refs([period.tenant_id])[period.tenant_id]
    change = changes.propose(
        viewer,
        kind=KIND,
        target_id=period.pk,
        title=f"{tenant.slug}-{period.name}: open the closed billing period again",
        payload={"tenant": tenant.slug, "period": period.name, "closed_at": str(period.closed_at)},
        reason=why,
        permission=Permission.MANAGE_MONEY,
    )
    period.change_id = change.pk
    period.save(update_fields=["change_id"])
    return period


def apply_decisions(now: datetime) -> int:
    """Open the periods whose change was approved, forget the others. Returns how many moved."""
    viewer = system_viewer("billing periods")
    moved = 0
    with fleet_scope():
        rows = BillingPeriod.objects.select_for_update(skip_locked=True, no_key=True)
        for period in rows.filter(change_id__isnull=False):
            assert period.change_id is not None
            answer = decision_of(period.change_id)
            if not answer.is_final:
                continue
            if answer.is_approved:
                period.state, period.cut_off = PeriodState.OPEN.value, None
                period.reopened_by_change = period.change_id
                record(viewer, "billing_period.reopen", period, why=answer.reason)
                told = {**_named(period), "why": answer.reason}
                tell(Kind.PERIOD_REOPENED, period.name, told, tenant_id=period.tenant_id, now=now)
                _keep(period, "cut_off", "reopened_by_change", now=now)
            period.change_id = None
            period.save(update_fields=["change_id"])
            moved += 1
    return moved


def _keep(period: BillingPeriod, *fields: str, now: datetime) -> None:
    """Save its new state, and when it got it."""
    period.changed_at = now
    period.save(update_fields=["state", "changed_at", *fields])


def _locked(viewer: Viewer, period_id: int) -> BillingPeriod:
    viewer.require(Permission.MANAGE_MONEY, get_period(viewer, period_id).tenant_id)
    return BillingPeriod.objects.select_for_update(no_key=True).get(pk=period_id)
