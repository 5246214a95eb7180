"""Doors of the sequences' drive. A message is a bell; the sweep finds every row that is due."""

from celery import shared_task

from fleet.actions.sequences import wake_by_change
from fleet.drive import sequence as driving
from fleet.rules.sequence import NOW
from tenants.nudge import nudge

PASSES = 10  # in one task, while each asks to be followed at once
DRIVE = "fleet.tasks.drive_sequence"


@shared_task(name=DRIVE)
def drive_sequence(sequence_id: int) -> None:
    for _ in range(PASSES):
        if driving.drive(sequence_id) != NOW:
            return


@shared_task(name="fleet.tasks.sweep_sequences")
def sweep_sequences() -> None:
    for sequence_id in driving.due_sequences():
        nudge(DRIVE, sequence_id, later=True)


@shared_task(name="fleet.tasks.sequence_decided")
def sequence_decided(change_id: int) -> None:
    """Somebody decided: the sequence that waited for it goes on in this very task."""
    sequence_id = wake_by_change(change_id)
    if sequence_id is not None:
        drive_sequence(sequence_id)
