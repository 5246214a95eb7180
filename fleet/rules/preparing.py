"""Before anything moves: the new release is declared, and its image is brought to the nodes."""

from dataclasses import replace
from datetime import datetime

from fleet.rules.balance import Counts
from fleet.rules.causes import FINAL_PULLS
from fleet.rules.disks import about_disk
from fleet.rules.going_back import begin
from fleet.rules.moves import enter, seconds, stay, want_of
from fleet.rules.phases import Cause, Phase
from fleet.rules.prefetch import AT_ONCE, Fetched, Prefetch
from fleet.rules.state import NOW, SOON, Decision, Seen, State


def preparing(state: State, seen: Seen, now: datetime) -> Decision | None:
    """The Deployment with 0 replicas: what can be refused is refused before anything moves."""
    if not seen.new.exists:
        counts = Counts(seen.old.wanted, 0)
        want = want_of(state, counts, state.weight_old, state.weight_new)
        return replace(
            stay(state, f"The Deployment of {state.new} is made, without replicas"),
            want=want,
            look_again=NOW,
        )
    fetch = seen.prefetch
    if fetch and fetch.nodes:
        return fetching(state, seen, now, fetch)
    why = f"{state.new} is declared in the cluster"
    if fetch is None or not fetch.skipped:
        return enter(state, Phase.CANARY_STARTING, why)
    memory = replace(state.memory, unfetched=fetch.skipped)
    return enter(state, Phase.CANARY_STARTING, f"{why}. {fetch.skipped}", memory=memory)


def fetching(state: State, seen: Seen, now: datetime, fetch: Prefetch) -> Decision:
    found = {f.node: f for f in fetch.found if f.node in fetch.nodes}
    done = [n for n in fetch.nodes if n in found and found[n].done]
    text = f"The image of {state.new} is on {len(done)} of {len(fetch.nodes)} nodes"
    troubled = [found[n] for n in fetch.nodes if n in found and found[n].trouble]
    if absent := next((f for f in troubled if is_absent(f)), None):
        return begin(state, seen, now, Cause.IMAGE_PULL, f"{text}. {words(absent)}")
    told = f"{text}. {'; '.join(map(words, troubled))}" if troubled else text
    placeless = all(not f.pulls for f in troubled)
    if len(done) + len(troubled) == len(fetch.nodes) and (done or placeless):
        return enter(state, Phase.CANARY_STARTING, told)
    late = now - state.phase_since > state.prefetch
    if late and (done or not fetch.found):
        return enter(state, Phase.CANARY_STARTING, f"{told}, {seconds(state.prefetch)} are over")
    if late:
        full = any(about_disk(f.trouble) for f in troubled)
        cause = Cause.DISK_FULL if full else Cause.IMAGE_PULL
        return begin(state, seen, now, cause, f"{told}, after {seconds(state.prefetch)}")
    pulling = sum(not (f.done or f.trouble) for f in found.values())
    start = [n for n in fetch.nodes if n not in found][: max(AT_ONCE - pulling, 0)]
    why = f"{told}. Nothing moves before, at most {seconds(state.prefetch)}"
    memory = replace(state.memory, fetched=state.memory.fetched or bool(start))
    stays = stay(state, why, memory=memory)
    return replace(stays, fetch=tuple(start), look_again=SOON)


def is_absent(fetched: Fetched) -> bool:
    """The registry's last word."""
    return fetched.pulls and any(word in fetched.trouble for word in FINAL_PULLS)


def words(fetched: Fetched) -> str:
    verb = "cannot be pulled" if fetched.pulls else "finds no place"
    disk = ", its disk is full" if about_disk(fetched.trouble) else ""
    return f"It {verb} on {fetched.node}{disk}: {fetched.trouble}"
