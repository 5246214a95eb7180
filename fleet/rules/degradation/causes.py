"""What may explain a miss, each with a score of 0 to 1, its sentence and its evidence. Pure.

Scores say how well the facts fit, not how likely a cause is in general: 0.9 is seen directly in
this tenant's own requests, 0.6 fits by time and place, below 0.3 is told as ruled out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from fleet.rules.degradation.facts import (
    ENGINE_REASONS,
    FULL_REASONS,
    GATEWAY_REASONS,
    QUOTA_REASONS,
    SLEEP_REASONS,
    Consumer,
    Facts,
    Move,
    ReleaseTraffic,
    Traffic,
)
from fleet.rules.degradation.symptoms import OUTCOMES, Miss, Symptom
from fleet.rules.degradation.words import count, extent, milliseconds, opening, percent
from fleet.rules.histogram import bucket_of

SATURATED_KV = 0.9
WORSE = 1.3  # times the others' p95
GREW = 1.5  # times the tokens before
LOADED = frozenset({Symptom.SHED, Symptom.TTFT, Symptom.ITL, Symptom.ERRORS, Symptom.CANCELLED})


class Cause(StrEnum):
    QUOTA_CHANGE = "quota_change"
    OWN_QUOTA = "own_quota"
    BAD_REQUESTS = "bad_requests"
    GATEWAY = "gateway"
    ROLLOUT = "rollout"
    SLEEP = "sleep"
    REPLICAS = "replicas"
    OWN_BURST = "own_burst"
    NEIGHBOUR = "neighbour"
    SATURATION = "saturation"
    ENGINE_ERRORS = "engine_errors"
    CLIENTS = "clients"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation, and the object it is about. `fleet_only` names what tenants may not see."""

    label: str
    value: str
    kind: str = ""  # service, rollout, quota, node, tenant
    key: str = ""
    fleet_only: bool = False


@dataclass(frozen=True, slots=True)
class Suspect:
    cause: Cause
    score: float
    because: str  # completes "... because"
    evidence: tuple[Evidence, ...] = ()


Look = Callable[[Facts, Miss], Suspect | None]


def rank(facts: Facts, miss: Miss) -> tuple[Suspect, ...]:
    """All suspects, the best first; never empty."""
    found = [suspect for look in CAUSES if (suspect := look(facts, miss)) is not None]
    found.sort(key=lambda s: -s.score)
    if not found or found[0].score < 0.3:
        found.insert(0, Suspect(Cause.UNKNOWN, 0.3, "of nothing that the console can see"))
    return tuple(found)


def sentence(facts: Facts, miss: Miss, suspect: Suspect) -> str:
    """Who, how, why and how much, for the person who has to act."""
    return f"{opening(facts, miss)} because {suspect.because}: {extent(miss)}."


def share_of(traffic: Traffic, miss: Miss, reasons: dict[str, int]) -> float:
    """How much of a counted miss these reasons explain."""
    outcomes = OUTCOMES.get(miss.symptom, ())
    told = sum(n for (o, r), n in traffic.reasons.items() if o in outcomes and r in reasons)
    return min(told / miss.affected, 1.0) if miss.affected else 0.0


def quota_change(facts: Facts, miss: Miss) -> Suspect | None:
    share = share_of(facts.now, miss, facts.now.because(QUOTA_REASONS))
    lowered = [c for c in facts.quota_changes if c.lowered]
    if share < 0.3 or not lowered:
        return None
    last = max(lowered, key=lambda c: c.at)
    return Suspect(
        Cause.QUOTA_CHANGE,
        0.6 + 0.38 * share,
        f"its quota was lowered at {last.at:%H:%M} by {last.by} ({last.told})",
        (Evidence("quota changed", f"{last.told}, {last.at:%H:%M}, by {last.by}", "quota"),),
    )


def own_quota(facts: Facts, miss: Miss) -> Suspect | None:
    found = facts.now.because(QUOTA_REASONS)
    share = share_of(facts.now, miss, found)
    if not share:
        return None
    words = " and ".join(QUOTA_REASONS[r] for r in list(found)[:2])
    evidence = tuple(
        Evidence(QUOTA_REASONS[r], f"{count(n)} refused", "quota") for r, n in found.items()
    )
    return Suspect(Cause.OWN_QUOTA, 0.95 * share, f"it uses up its own quota of {words}", evidence)


def bad_requests(facts: Facts, miss: Miss) -> Suspect | None:
    """Rejected for what the request is: the client must change, not the fleet."""
    if miss.symptom is not Symptom.REJECTED:
        return None
    ours = {*QUOTA_REASONS, *GATEWAY_REASONS}
    told: dict[str, int] = {}
    for (outcome, reason), n in facts.now.reasons.items():
        if outcome == "rejected" and reason and reason not in ours:
            told[reason] = told.get(reason, 0) + n
    if not told:
        return None
    worst = max(told, key=lambda r: told[r])
    share = share_of(facts.now, miss, told)
    words = worst.replace("_", " ")
    evidence = tuple(Evidence(r.replace("_", " "), f"{count(n)} rejected") for r, n in told.items())
    return Suspect(
        Cause.BAD_REQUESTS, 0.9 * share, f"its clients send what is refused ({words})", evidence
    )


def gateway(facts: Facts, miss: Miss) -> Suspect | None:
    found = facts.now.because(GATEWAY_REASONS)
    share = share_of(facts.now, miss, found)
    if not share:
        return None
    worst = next(iter(found))
    evidence = tuple(
        Evidence(GATEWAY_REASONS[r], f"{count(n)} requests", "gateway") for r, n in found.items()
    )
    return Suspect(
        Cause.GATEWAY, 0.92 * share, f"of the gateway ({GATEWAY_REASONS[worst]})", evidence
    )


def rollout(facts: Facts, miss: Miss) -> Suspect | None:
    """The release that a rollout brings is worse than the others, or the move takes replicas."""
    if miss.symptom is Symptom.REJECTED or not facts.moves:
        return None
    move = max(facts.moves, key=lambda m: m.since)
    new = [r for r in facts.releases if r.release_id == move.to_release_id]
    old = [r for r in facts.releases if r.release_id not in {move.to_release_id, 0}]
    worse = _worse(new[0], old, facts, miss) if new else ""
    when = f"{move.name} to {move.to_release} since {move.since:%H:%M}"
    evidence = (Evidence("rollout", f"{when}, {move.phase}", "rollout", str(move.id)),)
    if worse:
        told = f"{move.to_release}, which {move.name} brings, {worse}"
        return Suspect(Cause.ROLLOUT, 0.93, told, evidence)
    if move.is_open and facts.replicas.serving < facts.replicas.wanted:
        told = (
            f"{move.name} moves {facts.service} to {move.to_release} and"
            f" {facts.replicas.serving} of {facts.replicas.wanted} replicas take traffic"
        )
        return Suspect(Cause.ROLLOUT, 0.75, told, evidence)
    return Suspect(Cause.ROLLOUT, 0.25 if move.is_open else 0.15, _ruled_out(move), evidence)


def _ruled_out(move: Move) -> str:
    return (
        f"{move.name} moves to {move.to_release}, though that release is no worse than the others"
    )


def _worse(new: ReleaseTraffic, old: list[ReleaseTraffic], facts: Facts, miss: Miss) -> str:
    """How the new release is worse than the others now, or than the service was before."""
    if miss.symptom in {Symptom.TTFT, Symptom.ITL}:
        return _slower(new, old, facts, miss)
    bad = ("failed", "timed_out", "shed")
    here = new.traffic.count(*bad) / max(new.traffic.requests, 1)
    others = sum(r.traffic.count(*bad) for r in old) / max(sum(r.traffic.requests for r in old), 1)
    if not old:
        others = facts.before.count(*bad) / max(facts.before.requests, 1)
    if new.traffic.count(*bad) >= 3 and here > max(2 * others, 0.01):
        return f"fails {percent(here)} of its requests (others {percent(others)})"
    return ""


def _slower(new: ReleaseTraffic, old: list[ReleaseTraffic], facts: Facts, miss: Miss) -> str:
    pick = _picker(miss.symptom)
    here = pick(new.traffic)
    there = [q for r in old if (q := pick(r.traffic)) is not None]
    others = min(there) if there else pick(facts.before)
    if here is not None and others is not None and here > WORSE * others:
        return f"is slower (p95 {milliseconds(here)}, others {milliseconds(others)})"
    return ""


def _picker(symptom: Symptom) -> Callable[[Traffic], float | None]:
    if symptom is Symptom.ITL:
        return lambda traffic: traffic.itl.quantile(0.95)
    return lambda traffic: traffic.ttft.quantile(0.95)


def slept(facts: Facts, miss: Miss) -> Suspect | None:
    """It had 0 replicas because nobody asked, and these requests were the first."""
    turned_away = facts.now.because(SLEEP_REASONS)
    waited = facts.now.waking
    if miss.symptom is Symptom.TTFT:
        share = waited.count_above(bucket_of(miss.limit or 0.0)) / max(miss.affected, 1)
    elif miss.symptom is Symptom.CANCELLED:
        share = waited.total / max(miss.affected, 1)
    else:
        share = share_of(facts.now, miss, turned_away)
    if not share:
        return None
    evidence = [Evidence(SLEEP_REASONS[r], f"{count(n)} requests") for r, n in turned_away.items()]
    told = "the service slept and was waking"
    if (p95 := waited.quantile(0.95)) is not None:
        told += f" ({count(waited.total)} requests waited, p95 {milliseconds(p95)})"
        wait = f"{milliseconds(p95)} (p95 of {count(waited.total)})"
        evidence.insert(0, Evidence("wait for it to wake", wait, "service", facts.service))
    return Suspect(Cause.SLEEP, 0.96 * min(share, 1.0), told, tuple(evidence))


def replicas(facts: Facts, miss: Miss) -> Suspect | None:
    """Fewer engines than wanted: a lost node, a crash loop, no endpoint at all."""
    r = facts.replicas
    missing = r.wanted - r.serving
    nowhere = share_of(facts.now, miss, {"no_endpoint": 1, "outside_policy": 1})
    if miss.symptom is Symptom.REJECTED or (missing <= 0 and not nowhere):
        return None
    moving = any(m.is_open for m in facts.moves)
    score = 0.6 + 0.3 * missing / max(r.wanted, 1) + (0.05 if r.troubles else 0.0)
    if nowhere:
        score = max(score, 0.9 * nowhere)
    told = f"{r.serving} of {r.wanted} replicas take traffic"
    if r.troubles:
        told += f" ({r.troubles[0]})"
    evidence = [Evidence("replicas", f"{r.serving} of {r.wanted}", "service", facts.service)]
    evidence += [Evidence("seen", t, "service", facts.service, fleet_only=True) for t in r.troubles]
    return Suspect(
        Cause.REPLICAS,
        min(score - (0.2 if moving and not r.troubles else 0.0), 0.97),
        told,
        tuple(evidence),
    )


def is_saturated(facts: Facts) -> bool:
    e = facts.engines
    crowded = e.waiting is not None and e.waiting >= max(e.engines, 1)
    full = e.kv_usage is not None and e.kv_usage >= SATURATED_KV
    preempts = (e.preemptions_per_minute or 0.0) >= 1.0
    queued = bool(facts.service_now.because(FULL_REASONS) or facts.now.because(FULL_REASONS))
    return crowded or full or preempts or queued


def pressure(facts: Facts) -> tuple[Evidence, ...]:
    e, found = facts.engines, []
    if e.waiting is not None:
        found.append(
            Evidence(
                "waiting in engines", f"{e.waiting:.1f} on {e.engines}", "service", facts.service
            )
        )
    if e.kv_usage is not None:
        found.append(Evidence("KV cache", percent(e.kv_usage), "service", facts.service))
    if e.preemptions_per_minute:
        told = f"{e.preemptions_per_minute:.0f} a minute"
        found.append(Evidence("preemptions", told, "service", facts.service))
    for reason, n in facts.now.because(FULL_REASONS).items():
        found.append(Evidence(FULL_REASONS[reason], f"{count(n)} requests"))
    return tuple(found)


def saturation(facts: Facts, miss: Miss) -> Suspect | None:
    if miss.symptom not in LOADED or not is_saturated(facts):
        return None
    e = facts.engines
    told = "its engines are full"
    if e.waiting is not None and e.waiting >= 1:
        told += f", {count(e.waiting)} requests wait on {e.engines} engines"
    if e.kv_usage is not None and e.kv_usage >= SATURATED_KV:
        told += f", the KV cache is {percent(e.kv_usage)} used"
    return Suspect(Cause.SATURATION, 0.55, told, pressure(facts))


def burst(facts: Facts, miss: Miss) -> Suspect | None:
    """Who filled the engines: the consumer whose tokens grew most, the tenant or a neighbour."""
    if miss.symptom not in LOADED or not is_saturated(facts):
        return None
    grown = sum(c.growth for c in facts.consumers)
    if not grown:
        return None
    most = max(facts.consumers, key=lambda c: c.growth)
    share = most.growth / grown
    if share < 0.4 or most.now < GREW * max(most.before, 1.0):
        return None
    score = 0.6 + 0.3 * share
    flow = f"{count(most.before)} → {count(most.now)} tokens/min"
    if most.tenant_id == facts.tenant_id:
        told = f"its own {most.traffic_class} traffic fills the engines ({flow})"
        own = Evidence(f"own {most.traffic_class} tokens", flow)
        return Suspect(Cause.OWN_BURST, score, told, (own, *pressure(facts)))
    return _neighbour(most, score, flow, facts)


def _neighbour(most: Consumer, score: float, flow: str, facts: Facts) -> Suspect:
    """The sentence tells neither who the neighbour is nor how much it sends: tenants read it."""
    named = Evidence(
        f"{most.tenant}, {most.traffic_class}", flow, "tenant", most.tenant, fleet_only=True
    )
    told = f"another tenant's {most.traffic_class} traffic fills the engines"
    return Suspect(Cause.NEIGHBOUR, score, told, (named, *pressure(facts)))


def engine_errors(facts: Facts, miss: Miss) -> Suspect | None:
    found = facts.now.because(ENGINE_REASONS)
    share = share_of(facts.now, miss, found)
    if not share:
        return None
    worst = next(iter(found))
    evidence = tuple(
        Evidence(ENGINE_REASONS[r], f"{count(n)} requests", "service", facts.service)
        for r, n in found.items()
    )
    return Suspect(Cause.ENGINE_ERRORS, 0.7 * share, ENGINE_REASONS[worst], evidence)


def clients(facts: Facts, miss: Miss) -> Suspect | None:
    """They leave although answers come in time."""
    if miss.symptom is not Symptom.CANCELLED:
        return None
    late = facts.now.ttft.quantile(0.95)
    if late is not None and late > facts.objective.ttft_ms:
        told = f"first tokens come late, p95 {milliseconds(late)}"
        return Suspect(Cause.SATURATION, 0.5, told, pressure(facts))
    told = "they close connections by themselves, answers come in time"
    return Suspect(Cause.CLIENTS, 0.7, told, (Evidence("cancelled", count(miss.affected)),))


CAUSES: tuple[Look, ...] = (
    quota_change,
    own_quota,
    bad_requests,
    gateway,
    rollout,
    slept,
    replicas,
    burst,
    saturation,
    engine_errors,
    clients,
)
