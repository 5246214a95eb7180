"""Before anything moves: the release is declared, image and weights are brought to nodes."""

from dataclasses import replace
from datetime import datetime

from fleet.rules.balance import Counts
from fleet.rules.causes import FINAL_PULLS
from fleet.rules.disks import about_disk
from fleet.rules.going_back import begin
from fleet.rules.moves import enter, seconds, stay, want_of
from fleet.rules.phases import Cause, Phase
from fleet.rules.prefetch import AT_ONCE, Fetched, Fetching, Prefetch
from fleet.rules.state import NOW, SOON, Decision, Seen, State
from fleet.rules.weights import CLAIM, Trouble


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
    nodes = [n for n in fetch.nodes if n != fetch.claim]
    here = [n for n in nodes if n in found and found[n].image]
    text = f"The image of {state.new} is on {len(here)} of {len(nodes)} nodes"
    text += weights_text(fetch, found)
    troubled = [found[n] for n in fetch.nodes if n in found and found[n].trouble]
    if absent := next((f for f in troubled if is_absent(f)), None):
        return begin(state, seen, now, Cause.IMAGE_PULL, f"{text}. {words(absent)}")
    if refused := next((f for f in troubled if f.is_final), None):
        return begin(state, seen, now, Cause.WEIGHTS, f"{text}. {words(refused)}")
    told = f"{text}. {'; '.join(map(words, troubled))}" if troubled else text
    if is_enough(fetch, found, troubled):
        return enter(state, Phase.CANARY_STARTING, told)
    if now - state.phase_since > state.prefetch:
        return late(state, seen, now, fetch, told)
    pulling = sum(f.comes for f in found.values())
    start = [n for n in fetch.nodes if n not in found][: max(AT_ONCE - pulling, 0)]
    why = f"{told}. Nothing moves before, at most {seconds(state.prefetch)}"
    memory = replace(state.memory, fetched=state.memory.fetched or bool(start))
    stays = stay(state, why, memory=memory)
    return replace(stays, fetch=tuple(start), look_again=SOON)


def is_enough(fetch: Prefetch, found: dict[str, Fetched], troubled: list[Fetched]) -> bool:
    """Whether nothing else is to be waited for."""
    done = [f for f in found.values() if f.image]
    if len({f.node for f in done} | {f.node for f in troubled if not f.comes}) < len(fetch.nodes):
        return False
    refused = any(f.pulls and not f.image for f in troubled)
    if fetch.bring:  # a registry that gives in later would let an engine start without weights
        return has_weights(fetch, found) and not refused
    return bool(done) or not refused


def has_weights(fetch: Prefetch, found: dict[str, Fetched]) -> bool:
    """Wherever an engine can start: where its image is, or is still to come."""
    there = [found[n] for n in fetch.bring if n in found]
    able = [f for f in there if f.image or f.comes]
    return len(there) == len(fetch.bring) and bool(able) and all(f.done for f in able)


def weights_text(fetch: Prefetch, found: dict[str, Fetched]) -> str:
    done = [n for n in fetch.bring if n in found and found[n].done]
    if fetch.claim:
        return f", its weights are {'' if done else 'not yet '}in {fetch.claim}"
    return f", its weights are on {len(done)}" if fetch.bring else ""


def late(state: State, seen: Seen, now: datetime, fetch: Prefetch, told: str) -> Decision:
    """Its patience is over. Without their weights engines would not start."""
    over = seconds(state.prefetch)
    found = {f.node: f for f in fetch.found if f.node in fetch.nodes}
    troubled = [f for f in found.values() if f.trouble]
    if fetch.bring:
        if has_weights(fetch, found):
            return enter(state, Phase.CANARY_STARTING, f"{told}, {over} are over")
        why = f"{told}, after {over}. Engines would have to download weights and cannot: they start"
        return begin(state, seen, now, weights_cause(troubled), f"{why} offline")
    queued = bool(found) and all(f.queue for f in found.values())  # no fault of the image
    if any(f.done for f in found.values()) or not fetch.found or queued:
        return enter(state, Phase.CANARY_STARTING, f"{told}, {over} are over")
    full = any(about_disk(f.trouble) for f in troubled)
    cause = Cause.DISK_FULL if full else Cause.IMAGE_PULL
    return begin(state, seen, now, cause, f"{told}, after {over}")


def weights_cause(troubled: list[Fetched]) -> Cause:
    states = {f.state for f in troubled}
    if Fetching.DISK in states:
        return Cause.DISK_FULL
    return Cause.IMAGE_PULL if states == {Fetching.REGISTRY} else Cause.WEIGHTS


def is_absent(fetched: Fetched) -> bool:
    """The registry's last word."""
    return fetched.pulls and any(word in fetched.trouble for word in FINAL_PULLS)


OF_WEIGHTS = {
    Trouble.DISK: "its disk is full",
    Trouble.HUB: "the hub cannot be reached",
    Trouble.COMMIT: "the hub has no such commit",
    Trouble.ACCESS: "the hub does not allow it",
    Trouble.FAILED: "the download failed",
}


def words(fetched: Fetched) -> str:
    if fetched.weights:
        place = fetched.node if fetched.node.startswith(CLAIM) else f"on {fetched.node}"
        return f"Weights for {place}: {OF_WEIGHTS[fetched.weights]}. {fetched.trouble}"
    verb = "cannot be pulled" if fetched.pulls else "finds no place"
    where = f"for {fetched.node}" if fetched.node.startswith(CLAIM) else f"on {fetched.node}"
    if fetched.queue:
        return f"What brings it {where} {fetched.trouble}"
    disk = ", its disk is full" if about_disk(fetched.trouble) else ""
    return f"It {verb} {where}{disk}: {fetched.trouble}"
