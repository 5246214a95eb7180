"""Compare all sums in one snapshot, so that usage which comes in meanwhile makes no difference."""

from datetime import datetime
from decimal import Decimal

from django.db import connection, transaction

from billing.queries.checks import Check, run_checks
from billing.queries.exports import changed_files
from tenants.base.scope import fleet_scope

ZERO = Decimal(0)


def check_all(since: datetime) -> list[Check]:
    with transaction.atomic():
        # The first statement decides the transaction's snapshot, so this comes before the scope.
        if connection.in_atomic_block and len(connection.savepoint_ids) == 0:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with fleet_scope():
            files = Check("exported files with other bytes", ZERO, Decimal(changed_files()))
            return [*run_checks(since), files]
