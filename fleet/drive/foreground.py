"""A rollout's passes made one after another in a terminal, told as they go."""

import time
from collections.abc import Callable

from django.utils import timezone

from fleet.drive.observation import Observer
from fleet.drive.rollout import drive
from fleet.models import Rollout
from fleet.rules.phases import FINAL, Phase
from tenants.base.rows import database_now


def drive_to_the_end(rollout_id: int, say: Callable[[str], object]) -> None:
    """Each new reason once. Whoever holds the claim is waited for: it may be alive.

    The observer may be dead as well, and traffic moves only to replicas that somebody has seen:
    the cluster is looked at here whenever its look is overdue.
    """
    said, observer = "", Observer()
    while True:
        again = drive(rollout_id)
        look_around(observer, rollout_id)
        row = Rollout.objects.get(pk=rollout_id)
        if (words := words_of(row, taken=again is None)) != said:
            said = words
            say(f"{timezone.now():%H:%M:%S} {words}")
        if Phase(row.phase) in FINAL:
            return
        time.sleep(again.total_seconds() if again is not None else 1)


def look_around(observer: Observer, rollout_id: int) -> None:
    cluster = Rollout.objects.values_list("cluster_id", flat=True).get(pk=rollout_id)
    if cluster in observer.due(database_now()):
        observer.observe(cluster, database_now())


def words_of(row: Rollout, *, taken: bool) -> str:
    if taken and row.claim_until is not None:
        until = f"{row.claim_until:%H:%M:%S} UTC"
        return f"{row.phase:<18} somebody else makes a pass, waits for it until {until}"
    return f"{row.phase:<18} {row.why}"
