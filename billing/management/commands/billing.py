"""Proof of the books: manage.py billing check [--days 62].

Prints the sums that must agree, from both sides, and names the hours, tenants and documents that
differ. Exit status 0 when all agree, 1 when one does not.
"""

import sys
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing.drive.checks import check_all
from billing.queries.sums import Check


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        check = what.add_parser("check", help="compare the sums that must agree")
        check.add_argument("--days", type=int, default=62, help="how far back to look at hours")

    def handle(self, *_: Any, **options: Any) -> None:
        now = timezone.now()
        since = now - timedelta(days=options["days"])
        wrong = 0
        for check in check_all(since.replace(minute=0, second=0, microsecond=0), now):
            wrong += not check.holds
            self.stdout.write(said(check))
        self.stdout.write("All sums agree" if not wrong else f"{wrong} sums do not agree")
        if wrong:
            sys.exit(1)


def said(check: Check) -> str:
    """One line, with what differs in it."""
    verdict = "ok" if check.holds else f"DIFFERS at {check.wrong:,}: {check.said}"
    return f"{check.sentence}: {check.left:f} = {check.right:f}  {verdict}"
