"""Receivers of exports, and deliveries to them. Files are sent by `billing.drive.deliveries`."""

import secrets
from datetime import datetime

from django.conf import settings
from django.db import transaction

from billing.clients.delivery import make_secret, refuse_url
from billing.clients.vault import seal
from billing.models import ExportDelivery, ExportDestination, ExportJob
from billing.models.deliveries import METHODS
from billing.queries.deliveries import get_destination
from billing.queries.exports import get_export
from tenants.actions.audit import picture, record
from tenants.errors import Conflict, Invalid
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

KNOWN_METHODS = tuple(name for name, _ in METHODS)
TASK = "billing.tasks.deliver_exports"
BYTES = 32  # of a secret; Standard Webhooks asks for 24 to 64


@transaction.atomic
def create_destination(
    viewer: Viewer, *, name: str, url: str, method: str = "POST", tenant_id: int | None = None
) -> tuple[ExportDestination, str]:
    """A receiver and its signing secret, which is shown once."""
    viewer.require(Permission.MANAGE_MONEY, tenant_id)
    _check(name, url, method)
    secret = make_secret(secrets.token_bytes(BYTES))
    destination = ExportDestination.objects.create(
        tenant_id=tenant_id,
        name=name.strip(),
        url=url.strip(),
        method=method,
        sealed=seal(settings.SECRET_KEY, secret),
        created_by=viewer.email,
    )
    record(viewer, "export_destination.create", destination, after=destination)
    return destination, secret


@transaction.atomic
def change_destination(
    viewer: Viewer, destination_id: int, *, expected: int, name: str, url: str, method: str
) -> ExportDestination:
    destination = get_destination(viewer, destination_id)
    viewer.require(Permission.MANAGE_MONEY, destination.tenant_id)
    _check(name, url, method)
    before = picture(destination)
    destination.change(expected, name=name.strip(), url=url.strip(), method=method)
    record(viewer, "export_destination.change", destination, before=before, after=destination)
    return destination


@transaction.atomic
def renew_secret(
    viewer: Viewer, destination_id: int, *, expected: int
) -> tuple[ExportDestination, str]:
    """A new secret, from the next message on; the old one signs nothing any more."""
    destination = get_destination(viewer, destination_id)
    viewer.require(Permission.MANAGE_MONEY, destination.tenant_id)
    secret = make_secret(secrets.token_bytes(BYTES))
    destination.change(expected, sealed=seal(settings.SECRET_KEY, secret))
    record(viewer, "export_destination.secret", destination)
    return destination, secret


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


def _check(name: str, url: str, method: str) -> None:
    faults = {}
    if not 0 < len(name.strip()) <= 120:
        faults["name"] = "Give the receiver a name of at most 120 characters"
    if len(url.strip()) > 500:
        faults["url"] = "The address has at most 500 characters"
    elif why := refuse_url(url.strip(), allow_private=settings.QM_ALLOW_PRIVATE_DELIVERY):
        faults["url"] = why
    if method not in KNOWN_METHODS:
        faults["method"] = f"There is no method {method!r}; there are {', '.join(KNOWN_METHODS)}"
    if faults:
        raise Invalid(**faults)
