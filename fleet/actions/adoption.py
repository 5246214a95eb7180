"""Take what somebody wrote into the Deployment of the serving release over as a new release.

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
from fleet.rules.manifests import deployments_of
from fleet.rules.release import ReleaseSpec, digest_of
from tenants.actions.audit import record
from tenants.errors import Conflict
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
    if any(d.path == REPLICAS and not d.owned for d in drifts):
        raise Conflict(f"Decide about the number of replicas of {row} first: adopt or repair it")
    if not any(is_content(d.path) for d in drifts):
        raise Conflict(f"Nothing that a release says differs at {row}")


def declared_by(row: Deployment, edits: Mapping[str, Any]) -> ReleaseSpec:
    pods = ObservedPod.objects.filter(deployment=row, terminating=False).exclude(image_id="")
    images = {image.rpartition("@")[2] for image in pods.values_list("image_id", flat=True)}
    try:
        return adopted(
            spec_of(row.release),
            deployments_of(row.manifest)[0],
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
    return release_with(viewer, row.service, spec, row.release, note)
