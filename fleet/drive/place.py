"""Write what is scaled: one Deployment, or the group of a release with roles, all of it or again.

Each write is a full apply, so one that was cut in the middle is done again by the next pass: the
roles do not match then, which `Side.uneven` tells.
"""

from collections.abc import Mapping

from fleet.clients.kube import Json
from fleet.clients.workloads import Workloads
from fleet.rules.groups import DECODE, PREFILL
from fleet.rules.manifests import SCALED, Manifest, deployments_of, files_of, items_of, placed
from fleet.rules.seen import Side


def try_out(workloads: Workloads, manifest: Manifest, *, fence: int) -> None:
    """The server's dry run of all of it, without replicas."""
    for item in items_of(manifest):
        made = placed(item, replicas=0, fence=fence) if item["kind"] in SCALED else item
        workloads.apply(made, dry_run=True)


def put(
    workloads: Workloads, manifest: Manifest, *, replicas: int, fence: int, side: Side | None = None
) -> None:
    """Apply with so many replicas of the release. Of what `side` saw, these very objects."""
    uids = {part.name: part.uid for part in side.parts} if side else {}
    owner: Json = {}
    stays = decodes_of(side) if side and not replicas else frozenset()
    for item in files_of(manifest):  # before the pods, which would wait for them
        workloads.apply(owned(item, _known(manifest, uids)))
    for item in deployments_of(manifest):
        uid = uids.get(item["metadata"]["name"], "")
        if item["metadata"]["name"] in stays:
            continue
        applied = workloads.apply(placed(item, replicas=replicas, fence=fence, uid=uid))
        owner = owner or applied
    if stays:
        return  # what belongs to it alone is there, and follows its owner
    for item in items_of(manifest):
        if item["kind"] not in SCALED:
            workloads.apply(owned(item, owner))


def _known(manifest: Manifest, uids: Mapping[str, str]) -> Json:
    """The first Deployment, if it was seen: nothing is without an owner for a moment."""
    first = deployments_of(manifest)[0]
    uid = uids.get(first["metadata"]["name"], "")
    return first | {"metadata": first["metadata"] | {"uid": uid}}


def owned(manifest: Manifest, owner: Json) -> Manifest:
    """It goes when its owner goes: the cluster sees to that."""
    uid = owner["metadata"].get("uid", "")
    if not uid:
        return manifest
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "uid": uid}
    reference["name"] = owner["metadata"]["name"]
    return manifest | {"metadata": manifest["metadata"] | {"ownerReferences": [reference]}}


def remove(workloads: Workloads, side: Side) -> None:
    """Prefill before decode: who calls does it again until nothing is left."""
    stays = decodes_of(side)
    for part in side.parts:
        if part.name not in stays:
            workloads.delete(part.kind, part.name, part.uid)


def decodes_of(side: Side) -> frozenset[str]:
    """Names of parts that go last: decodes finish answers while pods of prefill drain."""
    if not any(p.role.startswith(PREFILL) for p in side.pods):
        return frozenset()
    return frozenset(part.name for part in side.parts if part.role.startswith(DECODE))
