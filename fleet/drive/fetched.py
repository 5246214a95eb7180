"""What a rollout keeps of its image on the way to nodes, as each pass saw it."""

from datetime import datetime

from fleet.drive.look import View
from fleet.models import RolloutFetch
from fleet.rules.prefetch import Fetched, Fetching

CHANGES = ("pod", "state", "trouble", "told", "made_at", "state_at", "gone_at")


def store_fetches(view: View, now: datetime) -> None:
    """Part of the pass's record. Only what differs is written."""
    seen = view.seen.prefetch
    if seen is None or seen.skipped:
        return
    known = {f.node: f for f in RolloutFetch.objects.filter(rollout=view.rollout)}
    found = {f.node: f for f in seen.found}
    new: list[RolloutFetch] = []
    changed: list[RolloutFetch] = []
    for node in dict.fromkeys((*seen.nodes, *found)):
        row = known.get(node) or RolloutFetch(rollout=view.rollout, node=node)
        before = [getattr(row, f) for f in CHANGES]
        refresh(row, found.get(node), now)
        if row.pk is None:
            new.append(row)
        elif before != [getattr(row, f) for f in CHANGES]:
            changed.append(row)
    for node, row in known.items():
        if node not in found and node not in seen.nodes and row.gone_at is None:
            row.gone_at = now
            changed.append(row)
    RolloutFetch.objects.bulk_create(new)
    RolloutFetch.objects.bulk_update(changed, CHANGES)


def refresh(row: RolloutFetch, found: Fetched | None, now: datetime) -> None:
    state = found.state if found else Fetching.WAITING
    if row.state != state:
        row.state, row.state_at = state.value, now
    row.pod, row.made_at = (found.name, found.made) if found else ("", None)
    row.trouble, row.gone_at = found.trouble if found else "", None
    row.told = found.told if found else ""
