"""Proof of the books: manage.py billing check [--days 62]; billing retention; billing archive.

`check` prints the sums that must agree, from both sides, and names the hours, tenants and documents
that differ. Exit status 0 when all agree, 1 when one does not.

`retention` prints the parts of requests, since when each may go or why not, and what was dropped.
It drops nothing: the worker does, where QM_USAGE_MONTHS says so.

`archive --write` writes the files of requests that may go, as the worker does, but without its
limit of 25 minutes, and drops nothing.

`archive [--since 2026-01-01] [--folder DIR]` reads every file of requests that were dropped, or
will be, and compares its bytes and its requests with what was recorded. Exit status 1 when one is
gone or differs.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing.clients.store import Folder
from billing.drive.archive_checks import Looked, check_files
from billing.drive.checks import check_all
from billing.drive.retention import write_files
from billing.queries.archive import archive_folder
from billing.queries.retention import default_days, list_dropped, list_parts
from billing.queries.sums import Check
from tenants.base.scope import fleet_scope
from tenants.rules.access import system_viewer


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        check = what.add_parser("check", help="compare the sums that must agree")
        check.add_argument("--days", type=int, default=62, help="how far back to look at hours")
        what.add_parser("retention", help="which days of requests may go, and which went")
        archive = what.add_parser("archive", help="read the files of requests again")
        archive.add_argument("--write", action="store_true", help="write what is missing")
        archive.add_argument("--since", type=utc_day, help="parts that ended later, YYYY-MM-DD")
        archive.add_argument("--folder", type=Path, help="default: QM_USAGE_ARCHIVE")

    def handle(self, *_: Any, **options: Any) -> None:
        now = timezone.now()
        if options["what"] == "retention":
            with fleet_scope():
                self.stdout.write("\n".join(retention_lines(now)))
            return
        if options["what"] == "archive":
            if options["write"]:
                self.write_files(now)
            else:
                self.look_at_files(options["folder"], options["since"])
            return
        since = now - timedelta(days=options["days"])
        wrong = 0
        for check in check_all(since.replace(minute=0, second=0, microsecond=0), now):
            wrong += not check.holds
            self.stdout.write(said(check))
        self.stdout.write("All sums agree" if not wrong else f"{wrong} sums do not agree")
        if wrong:
            sys.exit(1)

    def write_files(self, now: datetime) -> None:
        folder = archive_folder()
        if folder is None:
            raise CommandError("Files are written to QM_USAGE_ARCHIVE: set it")
        for part in write_files(folder, now):
            self.stdout.write(f"{part.name}: has its file")
        with fleet_scope():
            self.stdout.write("\n".join(retention_lines(now)))

    def look_at_files(self, root: Path | None, since: datetime | None) -> None:
        folder = Folder(root) if root else archive_folder()
        if folder is None:
            raise CommandError("There is no archive: set QM_USAGE_ARCHIVE, or give --folder")
        count = wrong = 0
        for looked in check_files(folder, since):
            count += 1
            wrong += bool(looked.fault)
            self.stdout.write(said_of_file(looked))
        self.stdout.write(f"{count:,} files, {wrong:,} are not as they were recorded")
        if wrong:
            sys.exit(1)


def utc_day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


def said_of_file(looked: Looked) -> str:
    verdict = f"DIFFERS: {looked.fault}" if looked.fault else "ok"
    state = "" if looked.is_dropped else ", not dropped yet"
    size = f"{looked.requests:,} requests, {looked.bytes:,} bytes"
    return f"{looked.part}{state}: {looked.file}, {size}  {verdict}"


def retention_lines(now: datetime) -> Iterator[str]:
    """A line for each part, then one for each that was dropped. In the fleet's scope."""
    viewer = system_viewer("retention")
    for part in list_parts(viewer, now):
        verdict = "kept for ever"
        if part.goes_at and part.goes_at > now:
            verdict = f"may go from {part.goes_at:%Y-%m-%d}"
        elif part.goes_at:
            verdict = f"stays: {'; '.join(part.why)}" if part.why else "may go now"
        file = f", file {part.file}" if part.file else ""
        yield f"{part.name}: {part.requests:,} requests, {part.bytes:,} bytes, {verdict}{file}"
    for day in default_days():
        yield f"usage_event_default: {day.requests:,} requests of {day.day}, move once it is over"
    for gone in list_dropped(viewer):
        file = f"file {gone.file}, its sha256 {gone.file_sha256}" if gone.file else "no file"
        yield (
            f"{gone.part}: dropped {gone.dropped_at:%Y-%m-%d %H:%M} UTC,"
            f" {gone.requests:,} requests, sha256 {gone.sha256}, {gone.rule}, {file}"
        )


def said(check: Check) -> str:
    """One line, with what differs in it."""
    verdict = "ok" if check.holds else f"DIFFERS at {check.wrong:,}: {check.said}"
    return f"{check.sentence}: {check.left:f} = {check.right:f}  {verdict}"
