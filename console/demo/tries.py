"""Bad releases that the demo keeps ready: one click rolls one out, and the console goes back."""

from dataclasses import dataclass

from django.db import transaction

from console.demo.people import viewer_named
from console.demo.rollouts import TO_TRY, approve
from fleet.actions.rollouts import propose_rollout
from fleet.queries.releases import ReleaseRow, release_rows, releases
from fleet.rules.situation import StepPlan
from tenants.errors import Conflict, NotFound
from tenants.rules.access import Permission, Viewer

# Short ones: long enough for the gate to see the demo's traffic, short enough to stay and watch.
STEPS = (StepPlan(20, 45, 40), StepPlan(50, 45, 40))
SOAK_SECONDS = 60
NOTES = {demo.note for demos in TO_TRY.values() for demo in demos if "-faulty-" in demo.image}


@dataclass(frozen=True, slots=True)
class Try:
    release_id: int
    service: str
    label: str
    note: str  # what is wrong with it, and who must notice
    rollout_id: int | None  # the last one to it

    @classmethod
    def of(cls, row: ReleaseRow) -> "Try":
        return cls(row.id, row.service, row.label, row.note, row.rollout_id)


def tries(viewer: Viewer) -> list[Try]:
    """In the order in which they were made."""
    rows = releases(viewer).filter(note__in=NOTES, service__name__in=TO_TRY).order_by("id")
    return [Try.of(row) for row in release_rows(list(rows))]


@transaction.atomic
def try_out(viewer: Viewer, release_id: int) -> int:
    """Propose it with short steps; the demo's approver agrees at once. Answers the rollout's id."""
    viewer.require(Permission.PROPOSE)
    found = next((t for t in tries(viewer) if t.release_id == release_id), None)
    if found is None:
        raise NotFound(f"The demo has no release {release_id} to try")
    if viewer.email == viewer_named("approver").email:
        raise Conflict("The demo's approver agrees to it: sign in as its operator to try one")
    row = releases(viewer).get(pk=release_id)
    rollout = propose_rollout(
        viewer, row.service_id, release_id, steps=STEPS, soak_seconds=SOAK_SECONDS,
        reason=f"To see it refused: {found.note}",
    )  # fmt: skip
    approve(rollout.pk)
    return rollout.pk
