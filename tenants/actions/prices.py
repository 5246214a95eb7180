"""Billing's open door: the prices that gateways hold money by."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction

from tenants.actions.audit import record
from tenants.errors import Invalid
from tenants.models import PublishedPrice as Row
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class PublishedPrice:
    """Micro-units of the currency per million tokens: 150000 is 0.15 a million."""

    version: int
    prompt: int
    cached: int
    completion: int


@transaction.atomic
def publish_prices(viewer: Viewer, prices: Mapping[str, PublishedPrice]) -> None:
    """Replace all prices by `prices`, by served model name; gateways have them in seconds.

    A model that is left out becomes unpriced: no money is held for it.
    """
    viewer.require(Permission.MANAGE_MONEY)
    for model, price in prices.items():
        if min(price.prompt, price.cached, price.completion) < 0:
            raise Invalid(prices=f"A price of {model} is negative")
    Row.objects.exclude(model__in=prices).delete()
    old = {row.model: row for row in Row.objects.all()}
    for model, price in prices.items():
        row = old.get(model) or Row(model=model)
        before = _facts(row) if row.pk else None
        row.version, row.prompt, row.cached, row.completion = (
            price.version,
            price.prompt,
            price.cached,
            price.completion,
        )
        if before != _facts(row):
            row.save()
            record(viewer, "price.publish", row, before=before, after=_facts(row))
    nudge("tenants.tasks.publish_policy")


def _facts(row: Row) -> dict[str, object]:
    return {
        "model": row.model,
        "version": row.version,
        "prompt": row.prompt,
        "cached": row.cached,
        "completion": row.completion,
    }
