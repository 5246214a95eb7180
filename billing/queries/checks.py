"""The sums that must agree, each from both sides. A difference means that something was lost."""

from collections.abc import Iterator
from datetime import datetime

from billing.queries.book_checks import BOOKS
from billing.queries.charge_checks import CHARGES
from billing.queries.cost_checks import COSTS
from billing.queries.credit_checks import CREDITS
from billing.queries.dropped_checks import DROPPED
from billing.queries.sums import Check, compare
from billing.queries.usage_checks import USAGE

__all__ = ["Check", "run_checks"]


def run_checks(since: datetime) -> Iterator[Check]:
    """Compare in the scope that is open, over hours from `since` on where none says otherwise.

    Each comparison is one statement; run them in a repeatable-read transaction while usage comes
    in, so that all of them are of one moment.
    """
    for found in (*USAGE, *DROPPED, *CHARGES, *COSTS, *BOOKS, *CREDITS):
        yield from compare(found, {"since": since})
