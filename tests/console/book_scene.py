"""Books on a scene: acme's last months closed and billed, one line credited; globex is closing."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

from billing.actions.accounts import change_account, record_payment
from billing.actions.calendars import keep_periods
from billing.actions.credits import Given, issue_credit_note
from billing.actions.exchange import record_rate
from billing.actions.grants import apply_decisions, ask_for_grant
from billing.actions.invoices import issue_invoices
from billing.actions.periods import close, sign_off, start_closing
from billing.actions.quarantine import ask
from billing.models import BillingPeriod, CreditGrant, UsageQuarantine
from billing.queries.accounts import get_account
from billing.queries.periods import period_checks
from billing.rules.accounts import AccountTerms
from billing.rules.exchange import Recorded
from billing.rules.grants import GrantTerms, Scope
from billing.rules.invoices import Tax
from billing.rules.quarantine import Kind
from tenants.actions.changes import decide
from tenants.queries.changes import get_change
from tenants.rules.access import Binding, Role, Viewer
from tests.billing.factories import SYSTEM
from tests.console.alert_scene import furnish_alerts

NO_GRACE = timedelta(0)


def furnish_books(scene: SimpleNamespace, now: datetime) -> None:
    """`scene.closed`, `scene.closing`, `scene.invoice` and `scene.note` for the pages."""
    acme, globex = scene.tenants[:2]
    keep_periods(now)
    terms = AccountTerms(
        "Société Acme, Comptabilité", acme.currency, "", acme.time_zone, "PO-2026-17", 14,
        "HALF_EVEN", "invoice", (Tax("VAT", Decimal("0.19")),),
    )  # fmt: skip
    version = get_account(SYSTEM, "acme").version
    change_account(SYSTEM, "acme", terms, expected=version)
    invoice_in_euros("globex", now)
    scene.credit = grant_credits(scene, now)
    conflict = UsageQuarantine.objects.get(reason="conflict")
    fin = Viewer(user_id=scene.fin.pk, email=scene.fin.email, bindings=(Binding(Role.FINANCE),))
    scene.decision = ask(fin, [conflict.pk], kind=Kind.DROP, why="Sent twice", now=now)
    furnish_alerts(scene, now)
    ended = BillingPeriod.objects.filter(ends_at__lte=now).order_by("starts_at")
    for period in ended.filter(tenant_id=acme.pk):
        close_signed(period, now)
        (scene.invoice,) = issue_invoices(SYSTEM, period.pk, now=now)
        scene.closed = period
    scene.closing = ended.filter(tenant_id=globex.pk).first()
    start_closing(SYSTEM, scene.closing.pk, now=now)
    line = scene.invoice.lines.filter(amount__gt=0).order_by("position").first()
    scene.line = line.position
    scene.note = issue_credit_note(
        SYSTEM, scene.invoice.number, lines=[Given(line.position, Decimal("0.01"))],
        why="An outage of an hour", now=now,
    )  # fmt: skip
    txn = record_payment(
        SYSTEM, "acme", amount=Decimal("0.05"), currency="USD", reference="SEPA-81", now=now
    )
    scene.txn = txn.pk


def invoice_in_euros(slug: str, now: datetime) -> None:
    """Prices in dollars, and the bank's rates of the last days."""
    account = get_account(SYSTEM, slug)
    terms = replace(account.chosen, currency="EUR", rate_source="ECB")
    change_account(SYSTEM, slug, terms, expected=account.version)
    for days, rate in enumerate(("0.9217", "0.9185", "0.92041")):
        on = (now - timedelta(days=days)).date()
        record_rate(SYSTEM, Recorded("USD", "EUR", on, "ECB", Decimal(rate)), now=now)


def grant_credits(scene: SimpleNamespace, now: datetime) -> CreditGrant:
    """A prepaid credit and a promotion that invoices draw on, and one that waits."""
    fin, vic = (
        Viewer(user_id=user.pk, email=user.email, bindings=(Binding(role),))
        for user, role in ((scene.fin, Role.FINANCE), (scene.vic, Role.APPROVER))
    )
    promotion = GrantTerms(
        "Welcome credit", Decimal("2.50"), "USD", False, "", 10, Scope("", "completion"), None
    )
    prepaid = replace(
        promotion, name="Prepaid balance", amount=Decimal(500), paid=True, reference="SEPA-77",
        priority=100, scope=Scope(), expires_at=now + timedelta(days=300),
    )  # fmt: skip
    for terms in (promotion, prepaid):
        grant = ask_for_grant(fin, "acme", terms, why="Signed with the contract", now=now)
        change = get_change(vic, grant.change_id or 0)
        decide(vic, change.pk, digest=change.digest, approve=True)
    apply_decisions(now)
    ask_for_grant(fin, "acme", replace(promotion, name="Outage in May"), why="Goodwill", now=now)
    return grant


def close_signed(period: BillingPeriod, now: datetime) -> None:
    """Sign off what a person may sign off, then close."""
    start_closing(SYSTEM, period.pk, now=now)
    for check in period_checks(SYSTEM, period, now=now, grace=NO_GRACE):
        if check.may_sign:
            sign_off(
                SYSTEM, period.pk, key=check.key.value, why="Not ours, said the gateway's log",
                now=now, grace=NO_GRACE,
            )  # fmt: skip
    close(SYSTEM, period.pk, now=now, grace=NO_GRACE)
