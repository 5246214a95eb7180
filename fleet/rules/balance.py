"""How many replicas each release gets next. One move a pass; GPUs of draining pods still count.

The arithmetic only ever names whole wanted numbers, so applying them twice changes nothing.
"""

from collections import Counter
from dataclasses import dataclass
from math import ceil

from fleet.rules.capacity import room_in, times, to_give
from fleet.rules.seen import Side
from fleet.rules.state import Seen, State


@dataclass(frozen=True, slots=True)
class Counts:
    old: int
    new: int


def counts_of(seen: Seen) -> Counts:
    return Counts(seen.old.wanted, seen.new.wanted)


def new_goal(state: State) -> int:
    """Replicas of the new release at the present step."""
    share = ceil(state.replicas * state.percent / 100)
    return min(max(share, state.together), state.replicas)


def kept_old(state: State) -> int:
    """Old replicas that stay warm during the soak: what the budget leaves."""
    if not state.has_old or state.surge == 0:
        return 0
    left = Counter(state.gpu_budget)
    left.subtract(times(state.replicas, state.mix_new))
    return max(room_in(left, state.mix_old, state.old_replicas), 0)


def left_of(state: State, seen: Seen) -> Counter[str]:
    """GPUs that are neither wanted now nor still held by pods that drain; of each product."""
    left = Counter(state.gpu_budget)
    for side, mix in ((seen.old, state.mix_old), (seen.new, state.mix_new)):
        left.subtract(times(max(side.wanted, side.alive) + side.terminating, mix))
    return left


def forward(state: State, seen: Seen, goal: int) -> Counts:
    """The next numbers on the way to `goal` new replicas."""
    now = counts_of(seen)
    if now.new >= goal:
        return now
    if state.apart and (now.old or seen.old.there):
        return Counts(0, now.new)
    left = left_of(state, seen)
    room = room_in(left, state.mix_new, goal - now.new)
    if room > 0:
        return Counts(now.old, now.new + room)
    if seen.old.terminating or seen.new.terminating or seen.new.serving < now.new:
        return now  # GPUs come free, or the last move is not done
    for moves in (min(state.surge, goal - now.new), 1):
        give = to_give(left, times(moves, state.mix_new), state.mix_old)
        after = Counts(now.old - min(give or 0, now.old), now.new)
        if give and keeps_capacity(state, seen, after):
            return after
    return now


def backward(state: State, seen: Seen, *, at_any_price: bool) -> Counts:
    """The next numbers on the way back to the old release alone.

    New replicas that carry nothing go at once. Those that still serve stay until old ones
    have taken over, unless they answer wrongly (`at_any_price`) or hold the GPUs needed.
    """
    now = counts_of(seen)
    if state.apart and seen.new.there:
        return Counts(now.old, 0)
    carrying = 0 if at_any_price else min(seen.new.serving, now.new)
    left = left_of(state, seen)
    wanted = state.old_replicas if state.has_old else 0
    # What is left of replicas whose Deployment of one role is gone holds their GPUs already.
    held = now.old if seen.old.exists else max(now.old, min(seen.old.alive, wanted))
    old = held + max(room_in(left, state.mix_old, wanted - held), 0)
    if not state.has_old or seen.old.serving >= wanted:
        # Stopped only after the traffic has left: its weight is 0 since an earlier pass.
        return Counts(old, 0 if state.weight_new == 0 or not carrying else now.new)
    if carrying < now.new:
        return Counts(old, carrying)
    waiting = seen.old.serving < now.old or seen.old.terminating or seen.new.terminating
    if old > now.old or waiting:
        return Counts(old, now.new)
    give = to_give(left, state.mix_old, state.mix_new)
    after = Counts(old, max(now.new - (give or 0), 0))
    return after if keeps_capacity(state, seen, after) else Counts(old, now.new)


def occupied(state: State, seen: Seen) -> int:
    """GPUs that pods have, drains included; one without a node has none yet."""
    return seen.old.gpus(state.gpus_old) + seen.new.gpus(state.gpus_new)


def keeps_capacity(state: State, seen: Seen, after: Counts) -> bool:
    """Never below the minimum by our own act; where it is below already, lose nothing more."""
    left = min(seen.old.serving, after.old) + min(seen.new.serving, after.new)
    return left >= min(state.min_replicas, seen.old.serving + seen.new.serving)


def weights_back(state: State, seen: Seen, *, at_any_price: bool) -> tuple[int, int]:
    """Traffic goes to what the old release can carry; all of it once that is everything."""
    old, new = seen.old.serving, seen.new.serving
    if not state.has_old:
        return 0, 0
    if at_any_price or new == 0 or old >= state.old_replicas:
        return 100, 0
    if old == 0:
        return 0, 100
    share = max(ceil(100 * old / max(state.old_replicas, 1)), state.weight_old)
    return share, 100 - share


def weights_promoting(state: State, seen: Seen) -> tuple[int, int]:
    """As many percent as the new release has replicas, never less than the last step had."""
    new, old = seen.new.serving, seen.old.serving
    if new >= state.replicas or old == 0:
        return (0, 100) if new else (state.weight_old, state.weight_new)
    share = max(100 * new // (new + old), state.weight_new)
    return 100 - share, share


def tally(side: Side) -> str:
    draining = f", {side.terminating} draining" if side.terminating else ""
    return f"{side.serving} of {side.wanted} answer{draining}"
