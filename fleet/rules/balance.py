"""How many replicas each release gets next. One move a pass; GPUs of draining pods still count.

The arithmetic only ever names whole wanted numbers, so applying them twice changes nothing.
"""

from dataclasses import dataclass
from math import ceil

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
    room = state.gpu_budget - state.replicas * state.gpus_new
    return max(min(room // state.gpus_old, state.old_replicas), 0)


def held(state: State, seen: Seen) -> int:
    """GPUs wanted now or still held by pods that drain."""
    return (
        max(seen.old.wanted, seen.old.alive) * state.gpus_old
        + max(seen.new.wanted, seen.new.alive) * state.gpus_new
        + seen.old.terminating * state.gpus_old
        + seen.new.terminating * state.gpus_new
    )


def forward(state: State, seen: Seen, goal: int) -> Counts:
    """The next numbers on the way to `goal` new replicas."""
    now = counts_of(seen)
    if now.new >= goal:
        return now
    if state.apart and (now.old or seen.old.pods):
        return Counts(0, now.new)
    room = (state.gpu_budget - held(state, seen)) // state.gpus_new
    if room > 0:
        return Counts(now.old, min(goal, now.new + room))
    if seen.old.terminating or seen.new.terminating or seen.new.serving < now.new:
        return now  # GPUs come free, or the last move is not done
    for moves in (min(state.surge, goal - now.new), 1):
        give = min(ceil(moves * state.gpus_new / state.gpus_old), now.old)
        after = Counts(now.old - give, now.new)
        if give and keeps_capacity(state, seen, after):
            return after
    return now


def backward(state: State, seen: Seen, *, at_any_price: bool) -> Counts:
    """The next numbers on the way back to the old release alone.

    New replicas that carry nothing go at once. Those that still serve stay until old ones
    have taken over, unless they answer wrongly (`at_any_price`) or hold the GPUs needed.
    """
    now = counts_of(seen)
    if state.apart and seen.new.pods:
        return Counts(now.old, 0)
    carrying = 0 if at_any_price else min(seen.new.serving, now.new)
    room = state.gpu_budget - held(state, seen)
    wanted = state.old_replicas if state.has_old else 0
    old = max(now.old, min(wanted, now.old + max(room // state.gpus_old, 0)))
    if not state.has_old or seen.old.serving >= wanted:
        # Stopped only after the traffic has left: its weight is 0 since an earlier pass.
        return Counts(old, 0 if state.weight_new == 0 or not carrying else now.new)
    if carrying < now.new:
        return Counts(old, carrying)
    waiting = seen.old.serving < now.old or seen.old.terminating or seen.new.terminating
    if old > now.old or waiting:
        return Counts(old, now.new)
    after = Counts(old, max(now.new - ceil(state.gpus_old / state.gpus_new), 0))
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
