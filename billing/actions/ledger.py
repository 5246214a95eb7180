"""Give the journal's accounts the numbers of the house's own books."""

from django.db import transaction

from billing.models import LedgerAccount
from billing.queries.ledger import Numbered, get_ledger_account
from billing.rules.ledger import fault_of_number
from tenants.actions.audit import picture, record
from tenants.errors import Invalid, Stale
from tenants.rules.access import Permission, Viewer


@transaction.atomic
def number_account(
    viewer: Viewer, account: str, *, number: str, name: str, expected: int
) -> Numbered:
    """`expected` is the version that was read: 0 where no number was given yet."""
    viewer.require(Permission.MANAGE_MONEY)
    get_ledger_account(viewer, account)
    if faults := fault_of_number(number.strip(), name.strip()):
        raise Invalid(**faults)
    given = {"number": number.strip(), "name": name.strip()}
    # A second person who gives the first number finds the row of the first one, at version 1.
    row, made = LedgerAccount.objects.get_or_create(account=account, defaults=given)
    before = None if made else picture(row)
    if made and expected or not made and not expected:
        raise Stale("Somebody else changed this meanwhile: look at it again, then retry")
    if not made:
        row.change(expected, **given)
    record(viewer, "ledger_account.number", row, before=before, after=row)
    return get_ledger_account(viewer, account)
