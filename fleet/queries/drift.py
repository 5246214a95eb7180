"""What runs otherwise than declared, who wrote it, and what may be done about it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleet.models import Drift, Rollout
from fleet.queries.access import see_fleet
from fleet.rules.around import object_in
from fleet.rules.declared import MISSING, REPLICAS, lines_between
from fleet.rules.phases import FINAL
from fleet.rules.release import digest_json
from tenants.rules.access import Viewer

MOST_SHOWN = 600  # characters of a value
MOST_LINES = 12  # of a difference


@dataclass(frozen=True, slots=True)
class DriftRow:
    id: int
    deployment_id: int
    deployment: str
    service: str
    service_id: int
    cluster: str
    path: str
    declared: Any
    live: Any
    manager: str
    operation: str
    written_at: datetime | None
    owned: bool  # by an autoscaler
    found_at: datetime
    seen_at: datetime
    wish: str
    wish_by: str
    wish_why: str
    trouble: str
    busy: bool  # a rollout of the service is open
    serves: bool  # its release is the one that serves
    edit: str  # names all that differs at its Deployment now
    adopted_as: str  # r7, the release that somebody made of it; empty: none
    adopted_id: int | None

    @property
    def declared_text(self) -> str:
        return text_of(self.declared, "not declared")

    @property
    def live_text(self) -> str:
        return text_of(self.live, "not there")

    @property
    def lines(self) -> tuple[str, ...]:
        """What went and what came, where the values have many parts; empty: see both values."""
        found = lines_between(self.declared, self.live)
        more = len(found) - MOST_LINES
        cut = tuple(text_of(line, "") for line in found[:MOST_LINES])
        return (*cut, f"… {more} more") if more > 0 else cut

    @property
    def who(self) -> str:
        if not self.manager:
            return "not told by the cluster"
        return f"{self.manager} ({self.operation})"

    @property
    def can_repair(self) -> bool:
        return not self.owned and not self.busy and self.wish != Drift.Wish.REPAIR

    @property
    def can_adopt(self) -> bool:
        good = self.path == REPLICAS and bool(self.live)
        return good and not self.owned and not self.busy and not self.wish

    @property
    def can_adopt_content(self) -> bool:
        """As a new release; what else may be against it is told when somebody tries."""
        free = not self.busy and not self.adopted_id and self.wish != Drift.Wish.REPAIR
        return is_content(self.path) and self.serves and free

    @property
    def sentence(self) -> str:
        if self.path == MISSING or self.path.endswith(f".{MISSING}"):
            name = " ".join(object_in(self.path) or (self.declared or self.deployment,))
            return f"{name} is declared and not in the cluster: somebody deleted it"
        by = f" by {self.manager}" if self.manager else ""
        change = f"{self.path} is {self.live_text}, declared is {self.declared_text}"
        if self.lines:
            change = f"{self.path}: {', '.join(self.lines)}"
        owned = ". An autoscaler owns it: it is left alone" if self.owned else ""
        return f"{self.deployment} was changed{by}: {change}{owned}"


def is_content(path: str) -> bool:
    """Of a Deployment itself, and neither its number of replicas nor that it is there at all. Where
    there are several, the path begins with the role.
    """
    inside = path if path.startswith("spec.") else path.partition(".")[2]
    return object_in(path) is None and inside.startswith("spec.") and inside != REPLICAS


def edit_of(found: Iterable[tuple[str, Any]]) -> str:
    """A name for what differs, so that a choice is about what was seen."""
    return digest_json(sorted([list(one) for one in found], key=lambda one: one[0]))[:16]


def text_of(value: Any, absent: str) -> str:
    if value is None:
        return absent
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


# Manifests of deployments, and what clusters were asked for, are large JSON.
LISTED = (
    "path", "declared", "live", "manager", "operation", "written_at", "owned", "found_at",
    "seen_at", "wish", "wish_by", "wish_why", "trouble",
    "deployment__name", "deployment__service__name", "deployment__cluster__slug",
    "deployment__release", "deployment__service__current_release", "adopted_as__number",
)  # fmt: skip


RELATED = ("deployment__service", "deployment__cluster", "adopted_as")


def list_drift(
    viewer: Viewer, *, service_id: int | None = None, cluster: str = ""
) -> tuple[DriftRow, ...]:
    """Open ones, those that anybody should decide first."""
    see_fleet(viewer)
    rows = Drift.objects.filter(ended_at=None, deployment__cluster__removed_at=None)
    if service_id is not None:
        rows = rows.filter(deployment__service=service_id)
    if cluster:
        rows = rows.filter(deployment__cluster__slug=cluster)
    related = rows.select_related(*RELATED).only(*LISTED)
    return rows_of(related.order_by("owned", "deployment__name", "path"))


def rows_of(found: Iterable[Drift]) -> tuple[DriftRow, ...]:
    drifts = list(found)
    if not drifts:
        return ()
    ended = [phase.value for phase in FINAL]
    moving = Rollout.objects.exclude(phase__in=ended).values_list("service_id", flat=True)
    busy = set(moving)
    edits: dict[int, list[tuple[str, Any]]] = {}
    for d in drifts:
        edits.setdefault(d.deployment_id, []).append((d.path, d.live))
    return tuple(
        DriftRow(
            id=d.pk,
            deployment_id=d.deployment_id,
            deployment=d.deployment.name,
            service=d.deployment.service.name,
            service_id=d.deployment.service_id,
            cluster=d.deployment.cluster.slug,
            path=d.path,
            declared=d.declared,
            live=d.live,
            manager=d.manager,
            operation=d.operation,
            written_at=d.written_at,
            owned=d.owned,
            found_at=d.found_at,
            seen_at=d.seen_at,
            wish=d.wish,
            wish_by=d.wish_by,
            wish_why=d.wish_why,
            trouble=d.trouble,
            busy=d.deployment.service_id in busy,
            serves=d.deployment.release_id == d.deployment.service.current_release_id,
            edit=edit_of(edits[d.deployment_id]),
            adopted_as=str(d.adopted_as or ""),
            adopted_id=d.adopted_as_id,
        )
        for d in drifts
    )


def sentences(viewer: Viewer) -> dict[int, tuple[str, ...]]:
    """By service, what a person should decide. An autoscaler's own numbers are no news."""
    found: dict[int, tuple[str, ...]] = {}
    for row in list_drift(viewer):
        if not row.owned:
            found[row.service_id] = (*found.get(row.service_id, ()), row.sentence)
    return found
