"""Look: the stored rollout, the cluster itself, the engines, the traffic. Nothing is changed."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from fleet.clients.errors import ClientError
from fleet.clients.workloads import Workloads
from fleet.drive.drift import adopts, as_it_is
from fleet.drive.fetching import full_disks, look_at_fetching
from fleet.drive.outside import Outside
from fleet.drive.trial import dry_run
from fleet.models import TAKES_TRAFFIC, Deployment, ObservedPod, Release, Rollout
from fleet.queries.adapters import apart_of
from fleet.queries.audience import audience_of
from fleet.queries.comparison import compare, everybody
from fleet.queries.contracts import contract_of
from fleet.queries.freezes import held
from fleet.queries.gateways import read_gateways
from fleet.queries.releases import spec_of
from fleet.queries.sequences import approved_as_stage
from fleet.queries.situations import queued
from fleet.queries.told import last_request, told
from fleet.rules.adapters import names_of
from fleet.rules.begins_within import read_begins
from fleet.rules.comparison import Window
from fleet.rules.contract.answers import Sample
from fleet.rules.contract.answers import judge as judge_answer
from fleet.rules.contract.prompts import Prompt, read_contract
from fleet.rules.contract.verifying import questions
from fleet.rules.disks import is_left_out, named
from fleet.rules.gate_limits import GateLimits
from fleet.rules.gates import arrears, bounds_of
from fleet.rules.groups import shape_from
from fleet.rules.manifests import (
    PORT,
    Manifest,
    kinds_of,
    render,
    selector_of,
    surroundings,
    workload,
)
from fleet.rules.phases import (
    BEFORE_WRITES,
    FINAL,
    GOING_BACK,
    Cause,
    Phase,
    PlanKind,
    Wish,
    gate_is_open,
)
from fleet.rules.pins import pins_from
from fleet.rules.release import Probes, digest_json
from fleet.rules.running import promised
from fleet.rules.seen import Pod, Side, read_side
from fleet.rules.situation import StepPlan
from fleet.rules.state import Approval, Seen, State, memory_from, moment
from fleet.rules.step_approval import BY_GATE
from fleet.rules.verify import AT_ONCE, Answers, Expected, judge, to_probe
from fleet.rules.vllm_args import number_of, values_of
from tenants.queries.changes import get_change, get_verdict
from tenants.rules.access import Permission, system_viewer

LEAVES = GOING_BACK | {Phase.PROMOTING}
WATCHED = frozenset({Phase.SHIFTING, Phase.ANALYZING, Phase.AWAITING_STEP_APPROVAL})


@dataclass(slots=True)
class View:
    """One pass's view: what `decide` gets, and what acting needs besides."""

    rollout: Rollout
    state: State
    seen: Seen = Seen()
    workloads: Workloads | None = None
    manifests: dict[str, Manifest] = field(default_factory=dict)  # Deployments: old, new
    around: list[Manifest] = field(default_factory=list)  # the other objects
    answers: dict[str, Answers] = field(default_factory=dict)  # by pod
    fetching: dict[str, Manifest] = field(default_factory=dict)  # pods whose image nodes get


def load(rollout_id: int) -> Rollout:
    related = ("service", "cluster", "requested_by", "supersedes")
    pairs = ("from_release", "to_release")
    rows = Rollout.objects.select_related(
        *related, *(f"{p}__{r}" for p in pairs for r in ("service", "model_version"))
    )
    return rows.get(pk=rollout_id)


def look(rollout: Rollout, outside: Outside, now: datetime) -> View:
    """Read the row, then the outside as far as the phase needs it."""
    rows = {d.release_id: d for d in Deployment.objects.filter(service=rollout.service_id)}
    old_row = rows.get(rollout.from_release_id or 0)
    new_row = rows.get(rollout.to_release_id)
    view = View(rollout, state_of(rollout, old_row, new_row))
    if view.state.phase in FINAL:
        return view
    if view.state.phase is Phase.AWAITING_APPROVAL:
        decided = view.state.approval.state in ("", "approved")
        view.seen = Seen(
            moved=moved(rollout),
            frozen=frozen(rollout, now),
            queued=(waits_for(rollout) or queued(rollout)) if decided else "",
        )
        return view
    if view.state.phase is Phase.PREPARING and (ahead := waits_for(rollout)):
        view.seen = Seen(queued=ahead)
        return view
    view.manifests, view.around = manifests_of(rollout, old_row)
    try:
        view.workloads = outside.connect(rollout.cluster)
        if view.state.phase is Phase.VALIDATING:
            refused = dry_run(rollout, view.state, view.workloads, view.manifests, view.around)
            view.seen = Seen(dry_run=refused)
        else:
            view.seen = look_around(view, outside, now)
    except ClientError as error:
        view.seen = Seen(trouble=error.message)
    return view


def state_of(r: Rollout, old: Deployment | None, new: Deployment | None) -> State:
    n = r.plan["numbers"]
    return State(
        kind=PlanKind(r.plan_kind),
        phase=Phase(r.phase),
        phase_since=r.phase_since,
        steps=tuple(StepPlan(**step) for step in r.steps),
        step=r.step,
        replicas=r.replicas,
        old_replicas=n["old_replicas"],
        has_old=r.from_release is not None,
        min_replicas=n["min_replicas"],
        surge=n["surge"],
        gpus_new=n["gpus_new"],
        gpus_old=n["gpus_old"],
        mixes=n.get("mixes"),
        budget=n.get("budget"),
        wish=Wish(r.wish),
        wish_at=r.wish_at,
        wish_by=r.wish_by,
        wish_why=r.wish_why,
        skip_step=r.skip_step,
        skip_by=r.skip_by,
        resume_phase=Phase(r.resume_phase) if r.resume_phase else None,
        cause=Cause(r.cause) if r.cause else None,
        why=r.why,
        approval=approval_of(r),
        weight_old=old.weight if old else 0,
        weight_new=new.weight if new else 0,
        declared_old=old.replicas if old else 0,
        declared_new=new.replicas if new else 0,
        new_left=r.new_left_at,
        started=r.started_at is not None,
        is_rollback=r.is_rollback,
        start_deadline=timedelta(seconds=n["start_seconds"]),
        back_deadline=timedelta(seconds=n["back_seconds"]),
        patience=timedelta(seconds=n["patience_seconds"]),
        drain=timedelta(seconds=n["drain_seconds"]),
        lease=lease_of(r),
        **before_it_moves(r.plan),
        soak=timedelta(seconds=n["soak_seconds"]),
        limits=GateLimits(**n["limits"]),
        contract=prompts_of(r),
        taking=audience_of(r).words(r.step),
        **step_approval_of(r),
        **successor_of(r),
        memory=memory_from(r.memory),
        old=str(r.from_release) if r.from_release else "nothing",
        new=str(r.to_release),
    )


def before_it_moves(plan: dict[str, Any]) -> dict[str, Any]:
    """The time that it was approved for, and how long its image may take to nodes."""
    prefetch = timedelta(seconds=plan.get("prefetch_seconds", 0))
    return {"begins": read_begins(plan), "prefetch": prefetch}


def waits_for(r: Rollout) -> str:
    """Why one that supersedes another does not begin yet; so does a way back."""
    if not r.waits or r.supersedes is None:
        return ""
    return f"{r.supersedes}, which it supersedes, has not ended yet: {r.supersedes.why}"


def step_approval_of(r: Rollout) -> dict[str, Any]:
    """Of a step that asked for it. It counts for exactly what was judged."""
    if r.phase != Phase.AWAITING_STEP_APPROVAL or r.step_change_id is None:
        return {}
    change = get_change(viewer(), r.step_change_id)
    decider = change.decider.email if change.decider else ""
    said = Approval(change.state, decider, change.decision_reason)
    same = change.payload["judged_digest"] == r.memory.get("judged")
    return {"step_approval": said, "step_moved": not same}


def successor_of(r: Rollout) -> dict[str, Any]:
    """Who waits for the end of this one, and whether people approved it."""
    if r.wish != Wish.ABORT and Phase(r.phase) not in GOING_BACK:
        return {}
    rows = Rollout.objects.filter(supersedes=r, waits=True)
    found = rows.exclude(phase__in=[p.value for p in FINAL]).first()
    if found is None:
        return {}
    asked = found.phase == Phase.AWAITING_APPROVAL and approval_of(found).state == "approved"
    return {"superseded_by": str(found), "gives_way": asked}


def lease_of(r: Rollout) -> timedelta:
    """The longest of both releases; of those without roles there is none."""
    grouped = (release for release in (r.from_release, r.to_release) if release and release.roles)
    leases = (Probes(**release.probes).kv_lease_seconds for release in grouped)
    return timedelta(seconds=max(leases, default=0))


def prompts_of(r: Rollout) -> tuple[Prompt, ...]:
    """As frozen at the proposal."""
    if r.phase != Phase.CANARY_VERIFYING:
        return ()
    kept = contract_of(r)
    return read_contract(kept.prompts) if kept else ()


def approval_of(r: Rollout) -> Approval:
    """As it stands while it decides something: a decided change is not decided again."""
    if r.change_id is None or Phase(r.phase) not in BEFORE_WRITES:
        return Approval()
    found = get_verdict(viewer(), r.change_id)
    return Approval(found.state, found.by, found.why)


def viewer() -> Any:
    return system_viewer("rollouts", (Permission.VIEW_FLEET, Permission.PROPOSE))


def frozen(r: Rollout, now: datetime) -> str:
    found = held(viewer(), r, now)
    return found.sentence if found and found.holds else ""


def moved(r: Rollout) -> str:
    """What was approved must be what is stored now, digest for digest."""
    if r.change_id is None:
        return ""
    stored = {"manifests": r.manifests, "plan": r.plan, "steps": r.steps}
    payload = get_change(viewer(), r.change_id).payload
    approved = payload.get("manifest_digest") or approved_as_stage(payload, r)
    if digest_json(stored) == r.manifest_digest == approved:
        return ""
    return "What was approved is not what would be applied: propose it again"


def manifests_of(r: Rollout, old: Deployment | None) -> tuple[dict[str, Manifest], list[Manifest]]:
    found = {"new": workload(r.manifests)}
    if r.from_release:
        found["old"] = (old.manifest if old else {}) or rendered(r, r.from_release)
    return found, surroundings(r.manifests)


def rendered(r: Rollout, release: Release) -> Manifest:
    return workload(
        render(spec_of(release), r.cluster.namespace, r.service.max_model_len, r.cluster.group_sets)
    )


def look_around(view: View, outside: Outside, now: datetime) -> Seen:
    r, state = view.rollout, view.state
    assert view.workloads is not None
    kinds = kinds_of(*view.manifests.values())
    found = view.workloads.look(selector_of(r.service.name), kinds)
    if "old" in view.manifests and adopts(r):
        view.manifests["old"] = as_it_is(view.manifests["old"], found["deployments"])
    new = side_of(found, r.to_release)
    old = side_of(found, r.from_release) if r.from_release else Side()
    if is_left_out(new, old):
        full = full_disks(r, {*state.mix_new, *state.mix_old})
        new, old = named(new, full), named(old, full)
    seen = Seen(old=old, new=new, routed=routed_pods(r))
    if state.wish is Wish.ABORT and state.phase not in GOING_BACK:
        return seen  # engines that hang and statistics that fail hold up no abort
    seen = replace(seen, window=window_of(r, state, now), probes=probe(view, seen, outside))
    seen = replace(seen, **asked_gateways(r, state, now))
    view.fetching, prefetch = look_at_fetching(r, state, view.manifests["new"], view.workloads)
    seen = replace(seen, prefetch=prefetch)
    return replace(seen, contract=put_prompts(view, seen, outside))


def asked_gateways(r: Rollout, state: State, now: datetime) -> dict[str, Any]:
    """Where replicas go after traffic has left them."""
    if state.phase not in LEAVES:
        return {}
    answer = told(r, now, version=state.memory.told)
    last = last_request(r) if state.phase in GOING_BACK else None
    return {"gateways": answer, "last_new": last}


def side_of(look: dict[str, Any], release: Release) -> Side:
    return read_side(look, release.fingerprint, shape_from(release.resources, release.roles))


def routed_pods(r: Rollout) -> frozenset[str]:
    """Pods that a routing snapshot made now would hold."""
    rows = ObservedPod.objects.filter(TAKES_TRAFFIC, deployment__service=r.service_id)
    return frozenset(rows.values_list("uid", flat=True))


def window_of(r: Rollout, state: State, now: datetime) -> Window | None:
    """What both releases answered since the present weight holds, or since the soak began."""
    since = moment(state.memory.shifted_at)
    if state.phase is Phase.SOAKING:
        since = state.phase_since
    elif state.phase not in WATCHED and not is_judged_in_pause(state):
        return None
    if since is None:
        return None
    start, end = bounds_of(since, now)
    audience = audience_of(r)
    soaks = state.phase is Phase.SOAKING
    takes_part = everybody if soaks else partial(audience.takes_part, state.step)
    pair, shadow = (r.to_release_id, r.from_release_id), bool(state.shadow)
    window = compare(
        r.service_id,
        *pair,
        (start, end),
        takes_part,
        shadow=shadow,
        apart=apart_of(r),
        applications={a.id: a.name for a in audience.first_applications},
    )
    workers = read_gateways(now).workers
    waiting = [(w.worker, w.spool_events, w.spool_oldest_seconds) for w in workers]
    return replace(window, late=arrears(waiting))


def is_judged_in_pause(state: State) -> bool:
    """What paused for want of samples, or of a word, still has traffic."""
    by_gate = state.phase is Phase.PAUSED and state.memory.paused_by in BY_GATE
    return by_gate and gate_is_open(state.phase, state.resume_phase)


def probe(view: View, seen: Seen, outside: Outside) -> dict[str, Any]:
    """Ask replicas that are loaded and not admitted; at the end of a way back the old ones too."""
    r = view.rollout
    proving = view.state.phase in GOING_BACK and seen.new.gone
    new = [] if view.state.new_leaves else to_probe(seen.new)
    asked: list[tuple[Pod, Release]] = [(p, r.to_release) for p in new]
    if r.from_release:
        asked += [(p, r.from_release) for p in to_probe(seen.old, again=proving)]
    view.answers = ask_all([p for p, _ in asked], r.service.name, outside)
    return {
        pod.uid: judge(pod, view.answers[pod.uid], expected(release, pod)) for pod, release in asked
    }


def put_prompts(view: View, seen: Seen, outside: Outside) -> tuple[Sample, ...]:
    """Recorded prompts to replicas that proved who they are, before they take traffic."""
    service, found = view.rollout.service.name, questions(view.state, seen)
    if not found:
        return ()
    with ThreadPoolExecutor(max_workers=len(found)) as pool:
        said = pool.map(lambda q: outside.put(f"{q.pod.address}:{PORT}", service, q.prompt), found)
        pairs = zip(found, said, strict=True)
        return tuple(judge_answer(q.prompt, answer, q.pod.name) for q, answer in pairs)


def expected(release: Release, pod: Pod) -> Expected:
    roles = (r.get("arguments", ()) for r in release.roles if r["name"] == pod.role)
    arguments = [*release.arguments, *next(roles, ())]
    return Expected(
        fingerprint=release.fingerprint,
        service=release.service.name,
        max_model_len=number_of(values_of(arguments), "--max-model-len", 0),
        image=f"{release.image}@{release.image_digest}",
        adapters=names_of(pins_from(release.pins)),
        config=promised(arguments),
    )


def ask_all(pods: Iterable[Pod], service: str, outside: Outside) -> dict[str, Answers]:
    found = list(pods)
    if not found:
        return {}
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        answers = pool.map(lambda p: ask(p, service, outside), found)
        return {pod.uid: answer for pod, answer in zip(found, answers, strict=True)}


def ask(pod: Pod, service: str, outside: Outside) -> Answers:
    """One that takes blocks over proves itself with blocks of a peer of its own release."""
    if pod.peer:
        return outside.ask_pair(f"{pod.peer}:{PORT}", f"{pod.address}:{PORT}", service)
    return outside.ask(f"{pod.address}:{PORT}", service)
