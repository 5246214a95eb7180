"""Credits that somebody asked for and somebody else approved, and what they pay for."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from django.db.models import Sum

from billing.actions.grants import apply_decisions, ask_for_grant
from billing.models import JournalLeg
from billing.queries.checks import run_checks
from billing.queries.grants import get_grant
from billing.rules.grants import GrantTerms, Scope
from tenants.actions import changes
from tenants.base.scope import fleet_scope
from tenants.models import ChangeRequest, RoleBinding, User
from tenants.queries.access import viewer_of_user
from tests.billing.books import (
    NOVEMBER,
    OCTOBER,
    spend,
)
from tests.billing.factories import SYSTEM

PRICES = {
    "chat": {"prompt": Decimal(1_000_000), "cached": Decimal(0), "completion": Decimal(2_000_000)},
    "code": {"prompt": Decimal(1_000_000), "cached": Decimal(0), "completion": Decimal(2_000_000)},
}
TERMS = GrantTerms("Welcome", Decimal("10"), "USD", False, "", 100, Scope(), None)


def person(name, *roles):
    user = User.objects.create(email=f"{name}@example.com")
    with fleet_scope():
        for role in roles:
            RoleBinding.objects.create(user=user, role=role)
    return viewer_of_user(user)


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


def granted(fin, vic, tenant, *, now=NOVEMBER, **fields):
    return decide(vic, ask(fin, tenant, now=now, **fields), now=now)


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
