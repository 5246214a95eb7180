"""Traffic leaves before replicas do: gateways confirm it, then a window proves it. Pure.

Neither may hold up a way back for ever: what a gateway that is gone or silent does not confirm is
not waited for beyond a limit, and said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.rules.moves import seconds
from fleet.rules.state import Applied, Seen, State, Told, moment

SETTLE = timedelta(seconds=3)  # nobody reports: what gateways need to read new weights
# Reports cannot be read: gateways ask the console by then, and who asked is waited for.
UNHEARD = timedelta(seconds=6)
CONFIRM = timedelta(seconds=30)  # of gateways that report and do not apply
WINDOW = timedelta(seconds=10)  # without a request, before a way back is over
ARRIVE = timedelta(seconds=60)  # usage that gateways hold back is waited for


@dataclass(frozen=True, slots=True)
class Settled:
    done: bool
    why: str


def settled(state: State, seen: Seen, now: datetime) -> Settled:
    """Whether gateways took the weights that this rollout wrote last, and blocks were fetched."""
    since = moment(state.memory.shifted_at)
    if since is None:
        return Settled(True, "")
    told = confirmed(state, seen, since, now)
    if not told.done or now - since >= state.lease:
        return told
    left = seconds(state.lease - (now - since))
    text = f"Blocks that prefill handed over may be fetched for {seconds(state.lease)}: {left} more"
    return Settled(False, text)


def confirmed(state: State, seen: Seen, since: datetime, now: datetime) -> Settled:
    waits, told, version = now - since, seen.gateways, state.memory.told
    if told is None or (not told.workers and not told.trouble):
        return Settled(waits >= SETTLE, "Gateways take the new weights")
    if told.trouble and waits < UNHEARD:
        text = f"Gateways cannot be asked: {told.trouble}. Goes on after {seconds(UNHEARD)}"
        return Settled(False, text)
    behind = [w for w in told.workers if w.version < version] if version else list(told.workers)
    if not behind:
        return Settled(True, _all_apply(told, version))
    text = _who_is_behind(told, behind, version)
    if waits >= CONFIRM:
        return Settled(True, f"{text}. Not waited for beyond {seconds(CONFIRM)}")
    return Settled(False, f"Waits for gateways. {text}")


def _all_apply(told: Told, version: int) -> str:
    every = f"gateway workers apply routing {version}"
    count = len(told.workers)
    if not told.trouble:
        return f"All {count} {every}"
    heard = f"All {count} that ask the console: {every}" if count else "None asks the console"
    return f"Gateways cannot be asked: {told.trouble}. {heard}"


def _who_is_behind(told: Told, behind: Sequence[Applied], version: int) -> str:
    names = ", ".join(f"{w.name} ({w.words})" for w in behind[:3])
    more = f" and {len(behind) - 3} more" if len(behind) > 3 else ""
    wanted = f"routing {version}" if version else "the new weights, which are not published yet"
    count = f"{len(behind)} of {len(told.workers)} gateway workers"
    return f"{count} do not apply {wanted}: {names}{more}"


def quiet(state: State, seen: Seen, now: datetime) -> Settled:
    """Whether the new release got no request for one window, by what gateways metered."""
    left = state.new_left
    if left is None:
        return Settled(True, f"{state.new} got no traffic")
    waits = now - left
    last = max(left, seen.last_new or left)
    silent = now - last
    if silent < WINDOW:
        text = f"{state.new} got its last request {seconds(silent)} ago, {seconds(WINDOW)} without"
        return Settled(False, f"{text} one prove that no gateway sends any")
    late = seen.gateways.arrears if seen.gateways else ""
    if late and waits < ARRIVE:
        return Settled(False, f"What {state.new} answered is not all known. {late}")
    proved = f"{state.new} got 0 requests for {seconds(silent)}"
    return Settled(True, f"{proved} as far as known. {late}" if late else proved)
