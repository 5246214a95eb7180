"""The soak: all traffic is on the new release, the old one stays warm where the plan keeps it."""

from dataclasses import replace
from datetime import datetime, timedelta

from fleet.rules.balance import tally
from fleet.rules.causes import broken_group
from fleet.rules.comparison import failures, judged
from fleet.rules.going_back import begin
from fleet.rules.moves import final, seconds, stay, watch
from fleet.rules.phases import Cause, Phase
from fleet.rules.state import SOON, Decision, Place, Seen, State, Want, moment
from fleet.rules.statistics import binomial_tail

LOST = timedelta(seconds=60)  # replicas may be missing so long during the soak
SOAK_ERRORS = 0.02  # share of failed requests on top of stable's, during the soak
SOAK_ALPHA = 1e-5  # chance of a false alarm of one look; the soak is looked at every few seconds


def soaking(state: State, seen: Seen, now: datetime) -> Decision | None:
    if decision := lost_replicas(state, seen, now) or soak_gate(state, seen, now):
        return decision
    left = state.phase_since + state.soak - now
    if left > timedelta(0):
        keep = f", {state.old} keeps {seen.old.wanted} replicas" if state.has_old else ""
        memory = replace(state.memory, lost_since="")
        why = f"Watched for {seconds(left)} more{keep}"
        return watch(state, why, now - state.phase_since, left, memory=memory)
    if state.has_old and (not seen.old.gone or state.declared_old):
        want = Want(old=Place(None, 0), new=Place(state.replicas, 100))
        why = f"Soaked. {state.old} is removed: {len(seen.old.pods)} pods left"
        return replace(stay(state, why), want=want, look_again=SOON)
    return final(state, Phase.SUCCEEDED, f"{state.new} serves with {tally(seen.new)}")


def lost_replicas(state: State, seen: Seen, now: datetime) -> Decision | None:
    """Goes back only where the old release could do better: it needs warm replicas."""
    overdue = now - state.phase_since > state.soak + 10 * LOST
    if seen.new.serving >= state.replicas or overdue:
        return None
    since = moment(state.memory.lost_since)
    if since is None:
        memory = replace(state.memory, lost_since=now.isoformat())
        return stay(state, f"{state.new}: {tally(seen.new)}", memory=memory)
    if now - since < LOST or seen.old.serving <= seen.new.serving:
        return stay(state, f"{state.new} since {seconds(now - since)}: {tally(seen.new)}")
    why = f"{state.new} lost replicas for {seconds(now - since)}: {tally(seen.new)}"
    if fault := broken_group(seen.new, state.new):
        why = f"{why}. {fault.why}"
    return begin(state, seen, now, Cause.LOST_REPLICAS, why)


def soak_gate(state: State, seen: Seen, now: datetime) -> Decision | None:
    """Only errors are judged: the other release gets no traffic to compare with."""
    if seen.window is None:
        return None
    baseline = state.memory.baseline_errors or 0.0
    bad, all_of_them = failures(seen.window.canary), judged(seen.window.canary)
    limit = baseline + SOAK_ERRORS
    if all_of_them < 50 or binomial_tail(bad, all_of_them, limit) > SOAK_ALPHA:
        return None
    why = (
        f"During the soak {bad / all_of_them:.2%} of {all_of_them:,} requests failed,"
        f" limit {limit:.2%} (stable had {baseline:.2%})"
    )
    return begin(state, seen, now, Cause.GATE_FAILED, why)
