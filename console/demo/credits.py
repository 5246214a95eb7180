"""A prepaid balance and a promotion: asked for by finance, approved by another person."""

from datetime import datetime, timedelta
from decimal import Decimal

from billing.actions.grants import apply_decisions, ask_for_grant
from billing.queries.accounts import get_account
from billing.queries.grants import list_grants
from billing.rules.grants import GrantTerms, Scope
from console.demo.cast import TENANTS
from tenants.actions.changes import decide
from tenants.queries.changes import latest_change
from tenants.rules.access import Viewer

WHY = "Agreed with the demo's contract"
YEAR = timedelta(days=365)


def grant_credits(finance: Viewer, approver: Viewer, now: datetime) -> None:
    """To the first tenant, unless it was granted something already."""
    slug = TENANTS[0].slug
    account = get_account(finance, slug)
    if list_grants(finance, tenant_id=account.tenant_id).exists():
        return
    end = now.replace(minute=0, second=0, microsecond=0) + YEAR
    for terms in (
        GrantTerms(
            name="Prepaid balance",
            amount=Decimal(500),
            currency=account.currency,
            paid=True,
            reference="SEPA-2041",
            priority=100,
            scope=Scope(),
            expires_at=end,
        ),
        GrantTerms(
            name="Welcome credit",
            amount=Decimal(25),
            currency=account.currency,
            paid=False,
            reference="",
            priority=10,
            scope=Scope(),
            expires_at=end,
        ),
    ):
        grant = ask_for_grant(finance, slug, terms, why=WHY, now=now)
        change = latest_change(approver, kind="credit_grant", target_id=grant.pk)
        assert change is not None
        decide(approver, change.pk, digest=change.digest, approve=True, why=WHY)
    apply_decisions(now)
