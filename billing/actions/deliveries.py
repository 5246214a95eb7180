"""Receivers of exports, and deliveries to them. Files are sent by `billing.drive.deliveries`."""

import secrets
from dataclasses import asdict
from datetime import datetime

from django.conf import settings
from django.db import transaction

from billing.clients.delivery import make_secret
from billing.clients.vault import seal
from billing.models import ExportDelivery, ExportDestination, ExportJob
from billing.queries.deliveries import get_destination
from billing.queries.exports import get_export
from billing.rules.addresses import fault_of_url
from billing.rules.destinations import Target, fault_of_secret, faults_of_target
from billing.rules.webhooks import OVERLAP
from tenants.actions.audit import picture, record
from tenants.errors import Conflict, Invalid
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

TASK = "billing.tasks.deliver_exports"
BYTES = 32  # of a secret; Standard Webhooks asks for 24 to 64


@transaction.atomic
def create_destination(
    viewer: Viewer, target: Target, *, tenant_id: int | None = None, secret_key: str = ""
) -> tuple[ExportDestination, str]:
    """A receiver and its signing secret, which is shown once. A bucket's is given, never shown."""
    viewer.require(Permission.MANAGE_MONEY, tenant_id)
    _check(target, secret_key)
    secret = secret_key or make_secret(secrets.token_bytes(BYTES))
    destination = ExportDestination.objects.create(
        tenant_id=tenant_id,
        sealed=seal(settings.SECRET_KEY, secret),
        created_by=viewer.email,
        **_fields(target),
    )
    record(viewer, "export_destination.create", destination, after=destination)
    return destination, "" if secret_key else secret


@transaction.atomic
def change_destination(
    viewer: Viewer, destination_id: int, target: Target, *, expected: int
) -> ExportDestination:
    """A bucket stays one, and the others stay what they are: their secrets are not alike."""
    destination = get_destination(viewer, destination_id)
    viewer.require(Permission.MANAGE_MONEY, destination.tenant_id)
    faults = _faults(target)
    if target.is_bucket != destination.target.is_bucket:
        faults["method"] = "A bucket and an address that is sent to differ: make a new receiver"
    if faults:
        raise Invalid(**faults)
    before = picture(destination)
    destination.change(expected, **_fields(target))
    record(viewer, "export_destination.change", destination, before=before, after=destination)
    return destination


@transaction.atomic
def renew_secret(
    viewer: Viewer, destination_id: int, *, expected: int, now: datetime, secret_key: str = ""
) -> tuple[ExportDestination, str]:
    """A new secret, from the next message on; for a day the old one signs beside it, but where a
    store takes one signature alone."""
    destination = get_destination(viewer, destination_id)
    viewer.require(Permission.MANAGE_MONEY, destination.tenant_id)
    if fault := fault_of_secret(destination.target, secret_key):
        raise Invalid(secret_key=fault)
    secret = secret_key or make_secret(secrets.token_bytes(BYTES))
    previous = (
        {}
        if destination.target.is_bucket
        else {"previous": destination.sealed, "previous_until": now + OVERLAP}
    )
    destination.change(expected, sealed=seal(settings.SECRET_KEY, secret), **previous)
    record(viewer, "export_destination.secret", destination)
    return destination, "" if secret_key else secret


@transaction.atomic
def deliver_export(
    viewer: Viewer, job_id: int, *, now: datetime, destination_id: int | None = None
) -> ExportDelivery:
    """Send a finished file, again or to another receiver. A new key: it counts as a new message."""
    job = get_export(viewer, job_id)
    viewer.require(Permission.MANAGE_MONEY, job.tenant_id)
    if job.state != ExportJob.State.DONE:
        raise Conflict(f"The export is {job.state}; only a finished file is delivered")
    destination_id = destination_id or job.destination_id
    if destination_id is None:
        raise Invalid(destination_id="Choose where to: this export has no destination of its own")
    destination = find_fitting(viewer, destination_id, job.tenant_id)
    # Two people who press at once: the second finds the delivery of the first.
    ExportJob.objects.select_for_update(no_key=True).get(pk=job_id)
    under_way = ExportDelivery.objects.filter(
        job=job, destination=destination, state=ExportDelivery.State.WAITING
    )
    if under_way.exists():
        raise Conflict(f"The file is on its way to {destination.name} already: wait for its end")
    delivery = ExportDelivery.objects.create(
        tenant_id=job.tenant_id,
        job=job,
        destination=destination,
        requested_by=viewer.email,
        look_again=now,
    )
    record(viewer, "export.deliver", job, after={"destination": destination.name})
    nudge(TASK)
    return delivery


def find_fitting(viewer: Viewer, destination_id: int, tenant_id: int | None) -> ExportDestination:
    """A receiver of the same tenant, or of the operator, whose people may send what they see."""
    destination = get_destination(viewer, destination_id)
    if destination.tenant_id is not None and destination.tenant_id != tenant_id:
        raise Invalid(destination_id="That receiver belongs to another tenant than the file")
    return destination


def _fields(target: Target) -> dict[str, str]:
    return asdict(target) | {"name": target.name.strip(), "url": target.url.strip()}


def _faults(target: Target) -> dict[str, str]:
    fault = fault_of_url(target.url.strip(), allow_private=settings.QM_ALLOW_PRIVATE_DELIVERY)
    return faults_of_target(target) | ({"url": fault} if fault else {})


def _check(target: Target, secret_key: str) -> None:
    faults = _faults(target)
    if fault := fault_of_secret(target, secret_key):
        faults["secret_key"] = fault
    if faults:
        raise Invalid(**faults)
