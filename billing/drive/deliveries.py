"""The pass over deliveries: the file first, its manifest last, each try written down.

1. Claim a delivery that is due; load its file and its receiver.
2. Send what was not taken yet, outside of any transaction.
3. After each message write the try; then the outcome, guarded by the claim.

A worker that dies after the receiver took a message sends it again, under the same key.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings

from billing.actions.events import tell
from billing.clients.delivery import Answer, Bucket, Message, send
from billing.clients.store import Folder
from billing.clients.vault import Unreadable, unseal
from billing.models import ExportArtifact, ExportAttempt, ExportDelivery
from billing.queries.exports import media_type
from billing.rules.destinations import POST, PUT
from billing.rules.webhooks import Kind
from tenants.base.claims import claimed
from tenants.base.scope import fleet_scope

MOST_TRIES = 10  # the last one some four hours after the first
PAUSE = timedelta(seconds=15)
MOST = 20
FILE, MANIFEST = "file", "manifest"
State = ExportDelivery.State


@dataclass(frozen=True, slots=True)
class Parcel:
    """Everything that a pass needs, read before it sends."""

    delivery: ExportDelivery
    artifact: ExportArtifact
    taken: frozenset[str]  # parts that the receiver has already

    def path(self, part: str) -> Path:
        end = ".manifest.json" if part == MANIFEST else ""
        return Folder(settings.QM_EXPORTS_DIR).place(self.artifact.path + end)


def deliver_due(now: datetime) -> int:
    """Send what is due. Returns how many files were delivered as a whole."""
    with fleet_scope():
        waiting = ExportDelivery.objects.filter(state=State.WAITING, look_again__lte=now)
        due = list(waiting.order_by("look_again", "id").values_list("id", flat=True)[:MOST])
    return sum(_pass(pk, now) for pk in due)


def _pass(pk: int, now: datetime) -> int:
    with claimed(ExportDelivery, pk) as claim:
        if claim is None:
            return 0
        with fleet_scope():
            parcel = _load(pk)
        if parcel.delivery.state != State.WAITING:
            return 0
        answer = _send_parts(parcel, claim, now)
        with fleet_scope():
            return _record(parcel.delivery, claim, answer, now)


def _load(pk: int) -> Parcel:
    delivery = ExportDelivery.objects.select_related("destination").get(pk=pk)
    taken = delivery.attempts.filter(why="").values_list("part", flat=True)
    artifact = ExportArtifact.objects.get(job_id=delivery.job_id)
    return Parcel(delivery, artifact, frozenset(taken))


def _send_parts(parcel: Parcel, claim: uuid.UUID, now: datetime) -> Answer:
    if fault := _fault_of_file(parcel):
        return Answer(None, fault, is_final=True)
    try:
        secret = unseal(settings.SECRET_KEY, parcel.delivery.destination.sealed)
    except Unreadable as error:
        return Answer(None, str(error), is_final=True)
    answer = Answer(None)
    for part in (FILE, MANIFEST):
        if part in parcel.taken:
            continue
        answer = send(
            _message(parcel, part, secret),
            now=now,
            allow_private=settings.QM_ALLOW_PRIVATE_DELIVERY,
        )
        if not _write_down(parcel.delivery, claim, part, answer, now) or not answer.taken:
            break
    return answer


def _fault_of_file(parcel: Parcel) -> str:
    folder, path = Folder(settings.QM_EXPORTS_DIR), parcel.artifact.path
    if not folder.exists(path) or not parcel.path(MANIFEST).is_file():
        return "The file is not on this machine any more: make the export again"
    if folder.digest(path) != parcel.artifact.sha256:
        return "The bytes of the file are not those that were recorded: make the export again"
    return ""


def _message(parcel: Parcel, part: str, secret: str) -> Message:
    path, target = parcel.path(part), parcel.delivery.destination.target
    prefix = "x-amz-meta-export" if target.is_bucket else "X-Export"
    return Message(
        # Each file has an address of its own, but where all are sent to one.
        url=target.url if target.method == POST else f"{target.url.rstrip('/')}/{path.name}",
        key=f"export-{parcel.delivery.job_id}-delivery-{parcel.delivery.pk}-{part}",
        secret=secret,
        body=path,
        content_type="application/json" if part == MANIFEST else media_type(path.name),
        method=POST if target.method == POST else PUT,
        headers={
            "Content-Disposition": f'attachment; filename="{path.name}"',
            f"{prefix}-Part": part,
            f"{prefix}-SHA256": parcel.artifact.sha256,
        },
        bucket=Bucket(target.region, target.access_key) if target.is_bucket else None,
    )


def _write_down(
    delivery: ExportDelivery, claim: uuid.UUID, part: str, answer: Answer, now: datetime
) -> bool:
    """False: another worker has the delivery now, and goes on with it."""
    with fleet_scope():
        mine = ExportDelivery.objects.select_for_update(no_key=True).filter(
            pk=delivery.pk, claim=claim
        )
        if not mine.exists():
            return False
        ExportAttempt.objects.create(
            tenant_id=delivery.tenant_id,
            delivery=delivery,
            part=part,
            at=now,
            status=answer.status,
            why=answer.why,
        )
    return True


def _record(delivery: ExportDelivery, claim: uuid.UUID, answer: Answer, now: datetime) -> int:
    if answer.taken:
        kept = ExportDelivery.record(
            delivery.pk, claim, state=State.DELIVERED, why="", finished_at=now, look_again=None
        )
        if kept:
            _tell(Kind.DELIVERED, delivery, "", now)
        return int(kept)
    failures = delivery.failures + 1
    final = answer.is_final or failures >= MOST_TRIES
    kept = ExportDelivery.record(
        delivery.pk,
        claim,
        state=State.FAILED if final else State.WAITING,
        why=answer.why,
        failures=failures,
        finished_at=now if final else None,
        look_again=None if final else now + PAUSE * 2**failures,
    )
    if kept and final:
        _tell(Kind.UNDELIVERED, delivery, answer.why, now)
    return 0


def _tell(kind: Kind, delivery: ExportDelivery, why: str, now: datetime) -> None:
    """In the scope of the record, so the event is there if the outcome is."""
    told = {
        "export_id": delivery.job_id,
        "delivery_id": delivery.pk,
        "destination_id": delivery.destination_id,
        "destination": delivery.destination.name,
        **({"why": why} if why else {}),
    }
    subject = f"export {delivery.job_id} to {delivery.destination.name}"
    tell(kind, subject, told, tenant_id=delivery.tenant_id, now=now)
