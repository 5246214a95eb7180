"""The output contract as part of verifying a canary: before any traffic, of every canary replica.

A broken expectation sends the rollout back. An engine that does not answer is asked again, as the
probes of a replica are; it is no bad release before the deadline of its verification is over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fleet.rules.contract.prompts import Prompt
from fleet.rules.going_back import begin
from fleet.rules.groups import answers_clients
from fleet.rules.moves import seconds, stay, waited
from fleet.rules.phases import Cause, Phase, Verdict
from fleet.rules.seen import Pod, Side
from fleet.rules.state import NOW, SOON, Checked, Decision, Seen, State

REPLICAS = 3  # all run the same release: more answers say nothing new about it
AT_ONCE = 8  # questions of one pass


@dataclass(frozen=True, slots=True)
class Open:
    """What a pass has to ask."""

    pod: Pod
    prompt: Prompt


def questions(state: State, seen: Seen) -> list[Open]:
    """Of replicas that proved who they are; those of the next passes come later."""
    if state.phase is not Phase.CANARY_VERIFYING or not 0 < seen.new.wanted <= seen.new.serving:
        return []
    answered = {(s["pod"], s["name"]) for s in state.memory.contract if not _no_answer(s)}
    pairs = [Open(pod, prompt) for pod in asked_of(seen.new) for prompt in state.contract]
    return [q for q in pairs if (q.pod.name, q.prompt.name) not in answered][:AT_ONCE]


def asked_of(side: Side) -> list[Pod]:
    serving = [p for p in side.pods if p.serves and answers_clients(p.role)]
    return sorted(serving, key=lambda p: (p.created_at, p.name))[:REPLICAS]


def contract_open(state: State, seen: Seen, now: datetime, deadline: timedelta) -> Decision | None:
    """Go back, or wait for answers. None: every prompt was answered as expected, or none is."""
    if not state.contract:
        return None
    known = merged(state, seen)
    if broken := [s for s in known if s["verdict"] == Verdict.FAIL]:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        why = f"The output contract is broken by {state.new}: {said_of(broken[0])}{more}"
        return gone_back(state, seen, now, Cause.OUTPUT_CONTRACT, Checked(Verdict.FAIL, why, known))
    silent = [s for s in known if _no_answer(s)]
    if silent and waited(state, now) >= deadline:
        return unanswered(state, seen, now, known, silent, deadline)
    wanted = len(asked_of(seen.new)) * len(state.contract)
    if len(known) - len(silent) >= wanted:
        return None
    why = f"Output contract: {len(known) - len(silent)} of {wanted} answers as expected"
    why += f"; asks again: {said_of(silent[0])}" if silent else ""
    memory = replace(state.memory, contract=known)
    return replace(stay(state, why, memory=memory), look_again=SOON if silent else NOW)


def unanswered(
    state: State,
    seen: Seen,
    now: datetime,
    known: Sequence[Mapping[str, Any]],
    silent: Sequence[Mapping[str, Any]],
    deadline: timedelta,
) -> Decision:
    """It proved who it is, so an error to each try of one prompt is its own; silence may not be."""
    refuses = next((s for s in silent if s["status"]), None)
    cause = Cause.OUTPUT_CONTRACT if refuses else Cause.NEVER_READY
    why = (
        f"{len(silent)} prompts of the output contract got no answer of {state.new} for"
        f" {seconds(deadline)}: {said_of(refuses or silent[0])}"
    )
    return gone_back(state, seen, now, cause, Checked(Verdict.ERROR, why, known))


def gone_back(state: State, seen: Seen, now: datetime, cause: Cause, checked: Checked) -> Decision:
    decision = begin(forgotten(state), seen, now, cause, checked.why)
    return replace(decision, contract=checked)


def contract_kept(state: State, seen: Seen, onward: Decision) -> Decision:
    """The way on, with what proves it."""
    if not state.contract:
        return onward
    known = merged(state, seen)
    why = f"Output contract kept: {len(known)} of {len(known)} answers as expected"
    memory = replace(onward.memory, contract=())
    checked = Checked(Verdict.PASS, why, known)
    return replace(onward, why=f"{onward.why}. {why}", memory=memory, contract=checked)


def forgotten(state: State) -> State:
    """Answers are kept with the rollout from now on, not in its memory."""
    return replace(state, memory=replace(state.memory, contract=()))


def merged(state: State, seen: Seen) -> tuple[Mapping[str, Any], ...]:
    """The last answer of each replica that is still asked to each prompt."""
    pods = {p.name for p in asked_of(seen.new)}
    found = {(s["pod"], s["name"]): s for s in state.memory.contract}
    found |= {(s.pod, s.name): s.as_json() for s in seen.contract}
    return tuple(s for s in found.values() if s["pod"] in pods)


def said_of(sample: Mapping[str, Any]) -> str:
    return f"{sample['pod']} on “{sample['name']}” {sample['why']}"


def _no_answer(sample: Mapping[str, Any]) -> bool:
    return bool(sample["verdict"] == Verdict.ERROR)
