"""Take what somebody wrote into the serving release, whatever its roles, over as a new release.

The release is only made here: it is planned, approved and rolled out as any other. Its name is in
every answer, in the name of its Deployment and in selectors that nobody can change, so replicas of
the old one never become its own by a mere change of the books.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from fleet.actions.drift import chosen, facts
from fleet.actions.releases import release_with
from fleet.models import Deployment, Drift, ObservedPod, Release
from fleet.queries.drift import edit_of, is_content
from fleet.queries.releases import spec_of
from fleet.rules.adoption import adopted
from fleet.rules.declared import REPLICAS
from fleet.rules.release import ReleaseSpec, digest_of
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid
from tenants.rules.access import Viewer


@transaction.atomic
def adopt_content(viewer: Viewer, deployment_id: int, *, edit: str, why: str) -> Release:
    """`edit`: as `list_drift` told what differs; refused when it is otherwise by now."""
    row, drifts = chosen(viewer, deployment_id, why)
    found = list(drifts.order_by("path"))
    refuse_adoption(row, found, edit)
    content = drifts.filter(pk__in=[d.pk for d in found if is_content(d.path)])
    edits = facts(content, "live")
    release = release_of(viewer, row, declared_by(row, edits), f"Adopted from {row}: {why.strip()}")
    before = facts(content)
    content.update(adopted_as=release, wish="", wish_by="", wish_why="", trouble="")
    after = {"release": str(release), "live": edits}
    record(viewer, "deployment.adopt_content", row, before=before, after=after, why=why)
    return release


def refuse_adoption(row: Deployment, drifts: Sequence[Drift], edit: str) -> None:
    if edit != edit_of((d.path, d.live) for d in drifts):
        raise Conflict(f"{row} was changed since you looked at it: look again")
    if row.service.current_release_id != row.release_id:
        raise Conflict(f"{row.release} does not serve {row.service}: only what serves is adopted")
    numbers = [d for d in drifts if d.path.endswith(REPLICAS) and not d.owned]
    if any(d.path == REPLICAS for d in numbers):
        raise Conflict(f"Decide about the number of replicas of {row} first: adopt or repair it")
    if numbers:
        raise Conflict(f"{row} cannot be adopted. {of_one_number(numbers[0])}")
    if not any(is_content(d.path) for d in drifts):
        raise Conflict(f"Nothing that a release says differs at {row}")


def of_one_number(drift: Drift) -> str:
    role = drift.path.removesuffix(f".{REPLICAS}")
    return (
        f"{drift.live} pods of {role} run, {drift.declared} are declared, and the numbers of all"
        " its pods follow from one number of replicas: scale it to"
        f" {drift.declared} again with kubectl, or make a release with other numbers of pods"
    )


def declared_by(row: Deployment, edits: Mapping[str, Any]) -> ReleaseSpec:
    pods = ObservedPod.objects.filter(deployment=row, terminating=False).exclude(image_id="")
    images = {image.rpartition("@")[2] for image in pods.values_list("image_id", flat=True)}
    try:
        return adopted(
            spec_of(row.release),
            row.manifest,
            edits,
            running=images.pop() if len(images) == 1 else "",
            max_model_len=row.service.max_model_len,
        )
    except ValueError as error:
        raise Conflict(f"{row} cannot be adopted. {error}") from error


def release_of(viewer: Viewer, row: Deployment, spec: ReleaseSpec, note: str) -> Release:
    """One of that content, perhaps made before. It is checked as if somebody had typed it in."""
    if digest_of(spec) == row.release.digest:
        raise Conflict(f"That is what {row.release} says already, in other words: repair {row}")
    try:
        return release_with(viewer, row.service, spec, row.release, note)
    except Invalid as error:
        told = ". ".join(error.fields.values())
        raise Conflict(f"{row} cannot be adopted. {told}: repair it") from error
