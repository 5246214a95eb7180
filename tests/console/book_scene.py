"""Books on a scene: acme's last months closed and billed, one line credited; globex is closing."""

from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

from billing.actions.accounts import change_account, record_payment
from billing.actions.credits import Given, issue_credit_note
from billing.actions.invoices import issue_invoices
from billing.actions.periods import close, keep_periods, sign_off, start_closing
from billing.models import BillingPeriod
from billing.queries.accounts import get_account
from billing.queries.periods import period_checks
from billing.rules.accounts import AccountTerms
from billing.rules.invoices import Tax
from tests.billing.factories import SYSTEM

NO_GRACE = timedelta(0)


def furnish_books(scene: SimpleNamespace, now: datetime) -> None:
    """`scene.closed`, `scene.closing`, `scene.invoice` and `scene.note` for the pages."""
    acme, globex = scene.tenants[:2]
    keep_periods(now)
    terms = AccountTerms(
        "Société Acme, Comptabilité", acme.currency, acme.time_zone, "PO-2026-17", 14,
        "HALF_EVEN", "invoice", (Tax("VAT", Decimal("0.19")),),
    )  # fmt: skip
    version = get_account(SYSTEM, "acme").version
    change_account(SYSTEM, "acme", terms, expected=version)
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
    record_payment(
        SYSTEM, "acme", amount=Decimal("0.05"), currency="USD", reference="SEPA-81", now=now
    )


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
