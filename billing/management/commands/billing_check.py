"""Prints the sums that must agree, from both sides: manage.py billing_check [--days 62].

Exit status 0 when all agree, 1 when one does not.
"""

import sys
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing.actions.checks import check_all


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=62, help="how far back to look")

    def handle(self, *_: Any, **options: Any) -> None:
        since = timezone.now() - timedelta(days=options["days"])
        wrong = 0
        for check in check_all(since.replace(minute=0, second=0, microsecond=0)):
            wrong += not check.holds
            verdict = "ok" if check.holds else f"DIFFERS by {check.right - check.left:f}"
            self.stdout.write(f"{check.sentence}: {check.left:f} = {check.right:f}  {verdict}")
        self.stdout.write("All sums agree" if not wrong else f"{wrong} sums do not agree")
        if wrong:
            sys.exit(1)
