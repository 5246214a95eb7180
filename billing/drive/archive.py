"""Requests of a part to a file, before they are dropped.

In one transaction: read them in one statement, write them under a temporary name, read the file
back and add up what is in it, give it its name, write its manifest, then the record. A worker that
dies leaves a part without a record: the next one writes the same file under the same name.

That its requests are those of the database is asked when the part goes, by the database: it makes
the digest of the requests themselves, with nobody adding to them, and names the file if that has
the same.
"""

from contextlib import closing
from functools import partial
from pathlib import Path

import structlog
from django.db import OperationalError, connection

from billing.actions.archive import record_fault, record_file
from billing.clients.store import Folder
from billing.clients.tables import read_parquet
from billing.models import ArchivedPart
from billing.queries.archive import MANIFEST, fault_of_bytes, newest_tries
from billing.queries.event_parts import EventPart
from billing.queries.part_rows import read_part
from billing.rules.archive import COLUMNS, SCHEMA, Contents, manifest_of, path_of
from billing.rules.manifests import as_text
from tenants.base.scope import fleet_scope

LOCK = 7_431  # of advisory locks: one file at a time
log = structlog.get_logger(__name__)


class Unlike(ValueError):
    """What was read back is not what was written."""


def keep_file(folder: Folder, part: EventPart) -> bool:
    """Whether it has a file now. False: another worker writes one, or `why` is written down.

    Raises OSError, written down as well: what is wrong with the folder is wrong for every part.
    """
    try:
        with fleet_scope(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
            if not cursor.fetchone()[0]:
                return False
            known = newest_tries([part.name]).get(part.name)
            if known is None or known.why or fault_of_bytes(folder, known.file, known.sha256):
                record_file(_write(folder, part))
        return True
    except OperationalError as error:
        log.warning("part of usage not archived, tried again", part=part.name, error=error)
    except (OSError, ValueError) as error:
        log.error("part of usage not archived", part=part.name, error=error)
        record_fault(part.name, str(error))
        if isinstance(error, OSError):
            raise
    return False


def _write(folder: Folder, part: EventPart) -> ArchivedPart:
    folder.need()
    path = path_of(part.name, part.ends_at)
    folder.forget_halves(path)
    folder.forget_halves(path + MANIFEST)
    contents = Contents()
    with closing(read_part(part)) as batches:
        stored = folder.write(path, COLUMNS, batches, check=partial(_read_back, contents))
    tried = ArchivedPart(
        part=part.name,
        schema=SCHEMA,
        file=path,
        bytes=stored.bytes,
        sha256=stored.sha256,
        content_sha256=contents.sha256,
        **contents.sums,
    )
    told = {field.name: getattr(tried, field.name) for field in ArchivedPart._meta.concrete_fields}
    manifest = manifest_of(part.name, (part.starts_at, part.ends_at), told)
    folder.write_text(path + MANIFEST, as_text(manifest))
    return tried


def _read_back(contents: Contents, half: Path, written: int) -> None:
    for columns in read_parquet(half):
        contents.take(columns)
    if (found := contents.sums["requests"]) != written:
        raise Unlike(f"{written:,} requests were written, and {found:,} read back")
