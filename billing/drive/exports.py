"""The passes over exports: open what schedules ask for, make the files that are due.

A file is made in one pass: read one snapshot, write under a temporary name, count, sum and check
every row, digest, give it its name, then record the evidence guarded by the claim. A worker that
dies leaves a job that the next pass takes up, which puts away what the dead one left in the folder.
"""

import traceback
import uuid
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from billing.actions.documents import wait_for_entries
from billing.actions.events import tell
from billing.actions.schedules import open_due
from billing.clients.store import Folder, Stored, TooManyRows
from billing.drive.rows import BadRow, Evidence, batches_of
from billing.models import ExportArtifact, ExportDelivery, ExportJob, ExportSchedule
from billing.queries.charged import ChargeFilter
from billing.queries.cost_lines import cost_complete_until
from billing.queries.lines import Damaged, complete_until
from billing.rules.datasets import DATASETS
from billing.rules.focus import money
from billing.rules.manifests import Manifest, as_text, hours_complete
from billing.rules.webhooks import Kind
from tenants.base.claims import claimed
from tenants.base.scope import fleet_scope
from tenants.nudge import nudge

MOST_FAILURES = 5
PAUSE = timedelta(seconds=30)
MOST_JOBS = 20
FINAL = (BadRow, Damaged, TooManyRows)  # another try would end the same way
EXPECTED = (OSError, DatabaseError, *FINAL)


def run_due(now: datetime) -> int:
    """Make what is due: jobs of schedules first, then files. Returns how many files were made."""
    with fleet_scope():
        _open_scheduled(now)
        waiting = ExportJob.objects.filter(state=ExportJob.State.WAITING, look_again__lte=now)
        due = list(waiting.order_by("look_again", "id").values_list("id", flat=True)[:MOST_JOBS])
    return sum(_run(job_id, now) for job_id in due)


def _open_scheduled(now: datetime) -> None:
    """What a machine that was down missed is made up: see `rules.schedules.owed`."""
    rows = ExportSchedule.objects.select_for_update(skip_locked=True, no_key=True)
    for schedule in rows.filter(enabled=True, next_at__lte=now).order_by("id"):
        open_due(schedule, now)
        schedule.save(update_fields=["made_until", "next_at"])


def _run(job_id: int, now: datetime) -> int:
    with claimed(ExportJob, job_id) as claim:
        if claim is None:
            return 0
        with fleet_scope():
            job = ExportJob.objects.get(pk=job_id)
        if job.state != ExportJob.State.WAITING:
            return 0
        try:
            if DATASETS[job.format].has_documents and job.ends_at <= now:
                wait_for_entries()
            with fleet_scope():
                return _make(job, claim, now)
        except Exception as error:
            _fail(job, claim, error, now)
            if not isinstance(error, EXPECTED):  # as the end of a worker's time: for its log
                raise
            return 0


def _make(job: ExportJob, claim: uuid.UUID, now: datetime) -> int:
    wanted = ChargeFilter(job.starts_at, job.ends_at, tenant_id=job.tenant_id)
    until = cost_complete_until if DATASETS[job.format].is_cost else complete_until
    complete = until(wanted, now)
    evidence = Evidence()
    folder = Folder(settings.QM_EXPORTS_DIR)
    folder.forget(_begins(job))
    stored = _write(job, wanted, evidence)
    kept = ExportJob.record(
        job.pk, claim, state=ExportJob.State.DONE, why="", finished_at=now, look_again=None
    )
    if not kept:  # somebody else has the job now, and writes its own file
        folder.forget(_begins(job, job.fence))
        return 0
    manifest = _manifest(job, stored, evidence, complete)
    folder.write_text(f"{stored.path}.manifest.json", as_text(manifest))
    ExportArtifact.objects.create(
        job=job,
        tenant_id=job.tenant_id,
        filename=manifest["file"],
        path=stored.path,
        rows=stored.rows,
        bytes=stored.bytes,
        sums=manifest["sums"],
        sha256=stored.sha256,
        watermark=evidence.watermark,
        complete_until=complete,
        manifest=manifest,
    )
    _tell(Kind.EXPORT, job, manifest, now)
    if job.destination_id:
        _deliver(job, job.destination_id, now)
    return 1


def _tell(kind: Kind, job: ExportJob, told: Mapping[str, Any], now: datetime) -> None:
    """Whom it concerns: files of the operator's books none of its tenants."""
    data = {"export_id": job.pk, "format": job.format, **told}
    owner = None if DATASETS[job.format].is_fleets else job.tenant_id
    tell(kind, f"export {job.pk}, {job.format}", data, tenant_id=owner, now=now)


def _deliver(job: ExportJob, destination_id: int, now: datetime) -> None:
    ExportDelivery.objects.create(
        tenant_id=job.tenant_id,
        job=job,
        destination_id=destination_id,
        requested_by=job.requested_by,
        look_again=now,
    )
    nudge("billing.tasks.deliver_exports")


def _manifest(job: ExportJob, stored: Stored, evidence: Evidence, complete: datetime) -> Manifest:
    dataset = DATASETS[job.format]
    done, hours = hours_complete(job.starts_at, job.ends_at, complete)
    return {
        "file": stored.path.rpartition("/")[2],
        "schema": dataset.schema,
        "columns": dataset.names,
        "rows": stored.rows,
        "bytes": stored.bytes,
        "sha256": stored.sha256,
        "sums": {currency: money(amount) for currency, amount in sorted(evidence.sums.items())},
        "range": [job.starts_at.isoformat(), job.ends_at.isoformat()],
        "complete_until": complete.isoformat(),
        "is_complete": complete >= job.ends_at,
        "hours": hours,
        "hours_complete": done,
        "checks": {
            "errors": 0,
            "rows": stored.rows,
            "documents": evidence.documents,
            "rules": list(dataset.checks),
        },
        "watermark": evidence.watermark,
        "corrections": dataset.corrections,
    }


def _write(job: ExportJob, wanted: ChargeFilter, evidence: Evidence) -> Stored:
    path = f"{_begins(job, job.fence)}{job.file_type}"
    # Closed before the transaction ends: a cursor that outlives it breaks the next one.
    with closing(batches_of(job.format, wanted, evidence)) as batches:
        return Folder(settings.QM_EXPORTS_DIR).write(path, DATASETS[job.format].columns, batches)


def _begins(job: ExportJob, fence: int | None = None) -> str:
    """How the paths of its files begin: of all workers that tried it, or of the one with a fence.

    The fence keeps the file of a worker that was frozen and came back apart from the new one.
    """
    whose = f"tenant-{job.tenant_id}" if job.tenant_id else "fleet"
    name = f"{whose}-{job.starts_at:%Y%m%d}-{job.ends_at:%Y%m%d}-{job.format}-{job.pk}"
    return f"{job.starts_at:%Y/%m}/{name}." + ("" if fence is None else f"{fence}.")


def _fail(job: ExportJob, claim: uuid.UUID, error: Exception, now: datetime) -> None:
    failures = job.failures + 1
    final = failures >= MOST_FAILURES or isinstance(error, FINAL)
    said = str(error) if isinstance(error, EXPECTED) else f"{type(error).__name__}: {error}"
    why = said[:2000]
    with fleet_scope():
        kept = ExportJob.record(
            job.pk,
            claim,
            state=ExportJob.State.FAILED if final else ExportJob.State.WAITING,
            why=why,
            failure="".join(traceback.format_exception(error))[-20_000:],
            failures=failures,
            look_again=None if final else now + PAUSE * 2**failures,
        )
        if kept and final:
            _tell(Kind.EXPORT_FAILED, job, {"why": why}, now)
    if kept:  # else another has it, or it was recorded as done before the connection broke
        Folder(settings.QM_EXPORTS_DIR).forget(_begins(job, job.fence))
