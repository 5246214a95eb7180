"""What people on call were told."""

import json

from billing.models import FinanceEvent
from tenants.base.scope import fleet_scope


def told():
    """Kind and content of each event of a rollout or what stands around it, in order."""
    with fleet_scope():
        rows = FinanceEvent.objects.filter(kind__startswith="rollout.").order_by("id")
        return [
            (row.kind.removeprefix("rollout."), json.loads(row.payload)["data"]) for row in rows
        ]
