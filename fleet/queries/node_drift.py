"""Changed labels and taints of nodes: what they mean here, who wrote them, and the way back."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from fleet.models import NodeDrift, ObservedPod
from fleet.queries.access import see_fleet
from fleet.rules.node_labels import line_back, meaning
from tenants.rules.access import Viewer

LISTED = (
    "node", "kind", "name", "expected", "live", "manager", "operation", "written_at", "found_at",
    "cluster__slug",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NodeDriftRow:
    id: int
    cluster: str
    node: str
    kind: str  # label, taint
    name: str
    expected: str | None  # None: it was not there
    live: str | None
    manager: str
    operation: str
    written_at: datetime | None
    found_at: datetime
    meaning: str
    line_back: str

    @property
    def who(self) -> str:
        if not self.manager:
            return "not told by the cluster"
        return f"{self.manager} ({self.operation})"

    @property
    def expected_text(self) -> str:
        return shown(self.expected)

    @property
    def live_text(self) -> str:
        return shown(self.live)

    @property
    def sentence(self) -> str:
        by = f" by {self.manager}" if self.manager else ""
        was = f"it was {self.expected_text}"
        return f"The {self.kind} {self.name} was changed{by} to {self.live_text}, {was}"


def shown(value: str | None) -> str:
    return "not there" if value is None else value or "set, without a value"


def list_node_drift(viewer: Viewer, *, cluster: str = "") -> tuple[NodeDriftRow, ...]:
    """Open ones, the oldest first."""
    see_fleet(viewer)
    rows = NodeDrift.objects.filter(ended_at=None, cluster__removed_at=None)
    if cluster:
        rows = rows.filter(cluster__slug=cluster)
    read = rows.select_related("cluster").only(*LISTED)
    drifts = list(read.order_by("found_at", "node", "name"))
    if not drifts:
        return ()
    pods = ObservedPod.objects.filter(
        cluster__in={d.cluster_id for d in drifts}, node__in={d.node for d in drifts}
    )
    ours = Counter(pods.filter(terminating=False).values_list("cluster_id", "node"))
    return tuple(
        NodeDriftRow(
            id=d.pk,
            cluster=d.cluster.slug,
            node=d.node,
            kind=d.kind,
            name=d.name,
            expected=d.expected,
            live=d.live,
            manager=d.manager,
            operation=d.operation,
            written_at=d.written_at,
            found_at=d.found_at,
            meaning=meaning(d.kind, d.name, d.expected, d.live, ours[d.cluster_id, d.node]),
            line_back=line_back(d.node, d.kind, d.name, d.expected),
        )
        for d in drifts
    )
