"""What is kept of files of requests: one that was read back, or why there is none.

The files themselves are written by `billing.drive.archive`.
"""

from billing.models import ArchivedPart
from tenants.actions.audit import record
from tenants.base.scope import fleet_scope
from tenants.rules.access import system_viewer

LONGEST = 500


def record_file(tried: ArchivedPart) -> None:
    """In the transaction that read what is in it."""
    tried.save(force_insert=True)
    after = {name: getattr(tried, name) for name in ("part", "file", "requests", "bytes", "sha256")}
    record(
        system_viewer("retention"),
        "usage_part.archive",
        tried,
        after=after,
        why="requests are written to a file before they are dropped (QM_USAGE_ARCHIVE)",
    )


def record_fault(part: str, why: str) -> None:
    """Once, however often the same goes wrong."""
    with fleet_scope():
        newest = ArchivedPart.objects.filter(part=part).order_by("-id").first()
        if newest is None or newest.why != why[:LONGEST]:
            ArchivedPart.objects.create(part=part, why=why[:LONGEST])
