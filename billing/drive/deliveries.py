"""The pass over deliveries: the file first, its manifest last, each try written down.

1. Claim a delivery that is due; load its file and its receiver.
2. Send what was not taken yet, outside of any transaction.
3. After each message write the try; then the outcome, guarded by the claim.

A worker that dies after the receiver took a message sends it again, under the same key. To a
receiver that moved in between, the file is sent again as well.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings

from billing.actions.events import tell
from billing.clients.delivery import Answer, Bucket, Message, send
from billing.clients.store import Folder
from billing.clients.vault import Unreadable, unseal_both
from billing.drive.turns import Round, Turn, next_turns
from billing.models import ExportArtifact, ExportAttempt, ExportDelivery
from billing.queries.exports import media_type
from billing.rules.destinations import POST, PUT
from billing.rules.manifests import as_text
from billing.rules.webhooks import Kind
from tenants.base.claims import claimed
from tenants.base.scope import fleet_scope
from tenants.queries.directory import tenant_refs

MOST_TRIES = 10  # the last one some four hours after the first
PAUSE = timedelta(seconds=15)
MOST = 20
SECONDS = 200.0  # after which a pass begins nothing more: a file may take 20 minutes by itself
MOST_SAID = 500  # characters
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
        waiting = ExportDelivery.objects.filter(state=State.WAITING)
        due = next_turns(waiting, now, receiver="destination_id", most=MOST)
    going = Round(now, SECONDS)
    return sum(_pass(turn, going, now) for turn in going.of(due))


def _pass(turn: Turn, going: Round, now: datetime) -> int:
    with claimed(ExportDelivery, turn.id) as claim:
        if claim is None:
            going.leave(turn)
            return 0
        with fleet_scope():
            parcel = _load(turn.id)
        if parcel.delivery.state != State.WAITING:
            return 0
        receiver = parcel.delivery.destination_id
        answer = going.unsent(receiver)
        try:
            answer = answer or _send_parts(parcel, claim, going)
        except Exception as error:  # as the end of a worker's time: a try that failed
            with fleet_scope():
                why = f"{type(error).__name__}: {error}"[:MOST_SAID]
                _record(parcel.delivery, claim, Answer(None, why), now)
            raise
        going.heard(receiver, answer)
        with fleet_scope():
            return _record(parcel.delivery, claim, answer, now)


def _load(pk: int) -> Parcel:
    delivery = ExportDelivery.objects.select_related("destination").get(pk=pk)
    there = ("", delivery.destination.url)
    taken = delivery.attempts.filter(why="", url__in=there).values_list("part", flat=True)
    artifact = ExportArtifact.objects.get(job_id=delivery.job_id)
    return Parcel(delivery, artifact, frozenset(taken))


def _send_parts(parcel: Parcel, claim: uuid.UUID, going: Round) -> Answer:
    if fault := _fault_of_file(parcel):
        return Answer(None, fault, is_final=True)
    try:
        to = parcel.delivery.destination
        secrets = unseal_both(settings.SECRET_KEY, to.sealed, to.previous_at(going.now))
    except Unreadable as error:
        return Answer(None, str(error), is_final=True)
    answer = Answer(None)
    for part in (FILE, MANIFEST):
        if part in parcel.taken:
            continue
        answer = send(
            _message(parcel, part, secrets),
            now=going.now,
            allow_private=settings.QM_ALLOW_PRIVATE_DELIVERY,
        )
        if not _write_down(parcel.delivery, claim, part, answer, going.now) or not answer.taken:
            break
    return answer


def _fault_of_file(parcel: Parcel) -> str:
    folder, path = Folder(settings.QM_EXPORTS_DIR), parcel.artifact.path
    if not folder.exists(path) or not parcel.path(MANIFEST).is_file():
        return "The file is not on this machine any more: make the export again"
    if folder.digest(path) != parcel.artifact.sha256:
        return "The bytes of the file are not those that were recorded: make the export again"
    told = parcel.artifact.manifest  # of files from before it was kept, nothing
    if told and parcel.path(MANIFEST).read_bytes() != as_text(told).encode():
        return "The manifest is not the one that was recorded: make the export again"
    return ""


def _message(parcel: Parcel, part: str, secrets: Sequence[str]) -> Message:
    secret, *previous = secrets
    path, target = parcel.path(part), parcel.delivery.destination.target
    prefix = "x-amz-meta-export" if target.is_bucket else "X-Export"
    return Message(
        url=target.address_of(path.name),
        key=f"export-{parcel.delivery.job_id}-delivery-{parcel.delivery.pk}-{part}",
        secret=secret,
        previous="".join(previous),
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
            url=delivery.destination.url,
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
    """In the scope of the record, so the event is there if the outcome is.

    It is told to whom the receiver belongs: of the operator's no tenant learns.
    """
    owner, whose = delivery.destination.tenant_id, delivery.tenant_id
    told = {
        "tenant": tenant_refs([whose])[whose].slug if whose else "",
        "export_id": delivery.job_id,
        "delivery_id": delivery.pk,
        "destination_id": delivery.destination_id,
        "destination": delivery.destination.name,
        **({"why": why} if why else {}),
    }
    subject = f"export {delivery.job_id} to {delivery.destination.name}"
    tell(kind, subject, told, tenant_id=owner, now=now)
