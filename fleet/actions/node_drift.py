"""Labels and taints of nodes that were changed: kept as they are seen, accepted by a person."""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models.functions import Now

from fleet.models import Cluster, NodeDrift
from fleet.rules.node_labels import Change, author
from fleet.rules.observation import SeenNode
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.rules.access import Permission, Viewer


def note_changes(
    cluster: Cluster,
    changed: Sequence[tuple[SeenNode, Sequence[Change]]],
    gone: Collection[str],
    now: datetime,
) -> None:
    """Open what is new, follow what changes again, end what is as before."""
    rows = NodeDrift.objects.filter(cluster=cluster, ended_at=None)
    if gone:
        rows.filter(node__in=gone).update(ended_at=now)
    if not changed:
        return
    found = rows.filter(node__in=[node.name for node, _ in changed])
    known = {(d.node, d.kind, d.name): d for d in found}
    for node, seen in changed:
        for change in seen:
            drift = known.get((node.name, change.kind, change.name))
            note(cluster, node, change, drift, now)


def note(
    cluster: Cluster, node: SeenNode, change: Change, drift: NodeDrift | None, now: datetime
) -> None:
    if drift and drift.expected == change.after:
        NodeDrift.objects.filter(pk=drift.pk).update(live=change.after, ended_at=now)
        return
    writer = author(change, node.managed)
    fields = {
        "live": change.after,
        "manager": writer.manager[:128],
        "operation": writer.operation[:32],
        "written_at": writer.at,
    }
    if drift:
        NodeDrift.objects.filter(pk=drift.pk).update(**fields)
        return
    NodeDrift.objects.create(
        cluster=cluster, node=node.name, kind=change.kind, name=change.name,
        expected=change.before, found_at=now, **fields,
    )  # fmt: skip


@transaction.atomic
def accept(viewer: Viewer, drift_id: int, *, live: str | None, why: str) -> NodeDrift:
    """What is there now is expected from now on, if it is still what the viewer saw."""
    viewer.require(Permission.PROPOSE)
    if not why.strip():
        raise Invalid(why="Say why: the reason is kept with the change")
    drift = NodeDrift.objects.select_for_update().filter(pk=drift_id).first()
    if drift is None:
        raise NotFound("There is no such change of a node")
    if drift.ended_at is not None:
        raise Conflict(f"{drift} is as before, or accepted already: there is nothing to decide")
    if drift.live != live:
        is_now = "gone" if drift.live is None else repr(drift.live)
        raise Conflict(f"{drift} was changed again, it is {is_now} now: look at it, then accept it")
    NodeDrift.objects.filter(pk=drift.pk).update(
        ended_at=Now(), accepted_by=viewer.email, accepted_why=why.strip()
    )
    before, after = ({drift.name: value} for value in (drift.expected, drift.live))
    record(viewer, "node.accept", drift, before=before, after=after, why=why)
    return drift
