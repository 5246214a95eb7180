"""Plans of a rollout before it is proposed: computed from what was observed, nothing is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.utils import timezone

from fleet.models import Cluster, Deployment, Release, Rollout, Service
from fleet.queries.adapters import missed
from fleet.queries.contracts import ContractRow, get_contract
from fleet.queries.places import refuse_cluster
from fleet.queries.prefetch import unfetched
from fleet.queries.prices import hourly_prices
from fleet.queries.releases import fetch_release, spec_of
from fleet.queries.resolutions import signature_warnings
from fleet.queries.situations import Touched, situation_of, touched_by
from fleet.queries.superseding import after_end_of
from fleet.queries.ways import WayFacts, calendar_of, facts_of
from fleet.rules.begins_within import BeginsWithin
from fleet.rules.counts import counted
from fleet.rules.differences import Change, compare, cost_of, kv_reasons, visible_to_clients
from fleet.rules.earliest import Earliest
from fleet.rules.groups import described, is_worker
from fleet.rules.manifests import Manifest, items_of, render
from fleet.rules.peak import Peak, answering, load_words
from fleet.rules.phases import FINAL
from fleet.rules.pinning import warnings_of
from fleet.rules.pins import pins_from
from fleet.rules.plan import Plan, plans_of
from fleet.rules.proposal import DEFAULT_SOAK, DEFAULT_STEPS
from fleet.rules.release import ReleaseSpec
from fleet.rules.situation import Situation, StepPlan
from fleet.rules.sleep import State, refuse_rollout, state_of
from fleet.rules.surge_cost import Hourly
from fleet.rules.topology import CLIQUE, refuse_placement
from tenants.errors import Conflict, Invalid, NotFound
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One line of the list of checks: good, warning or missing."""

    name: str
    verdict: str  # pass, warn, fail
    text: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything a plan page needs, and what `propose` freezes."""

    service_id: int
    service: str
    cluster: str
    cluster_id: int
    from_id: int | None
    from_label: str
    to_id: int
    to_label: str
    replicas: int
    old_replicas: int
    gpus: int  # a replica
    roles: str  # of a replica, "1 prefill and 2 decode"; empty: it is one pod
    gpu_mix: dict[str, int]  # of a replica, by product
    plans: tuple[Plan, ...]  # best first
    steps: tuple[StepPlan, ...]
    soak_seconds: int
    changes: tuple[Change, ...]
    visible: tuple[str, ...]
    cost: tuple[str, ...]
    kv: tuple[str, ...]  # why blocks of one are unreadable for the other; empty: they are not
    kv_domain_changes: bool
    warnings: tuple[str, ...]
    checks: tuple[CheckRow, ...]
    manifests: tuple[Manifest, ...]
    touched: tuple[Touched, ...]  # who used the service in the last hour
    contract: ContractRow  # that will be put to the canary; version 0 or no prompts: none
    observed_at: datetime | None
    situation: Situation
    ways: tuple[WayFacts, ...] = ()  # of the same plans
    begins: BeginsWithin | None = None  # as asked for
    # Of the release that serves now, for the diff: as approved, not as rendered today.
    old_manifests: tuple[Manifest, ...] = ()
    supersedes: str = ""  # the open rollout that will have gone back: RO-12


def plan_rollout(
    viewer: Viewer,
    service_id: int,
    release_id: int,
    *,
    replicas: int | None = None,
    steps: Sequence[StepPlan] | None = None,
    soak_seconds: int | None = None,
    supersedes: Rollout | None = None,
    begins: BeginsWithin | None = None,
) -> Proposal:
    """Compute all ways to move a service to a release; raise what makes it impossible.

    `supersedes`: an open rollout of it, which will have gone back by then.
    """
    viewer.require(Permission.VIEW_FLEET)
    release = fetch_release(viewer, release_id)
    parts = ("cluster", "scaling", "current_release__model_version")
    service = Service.objects.select_related(*parts).filter(pk=service_id).first()
    if service is None:
        raise NotFound("There is no such service")
    cluster = refuse_pair(service, release)
    release.service = service  # the same, and its cluster is known
    old = _current(service)
    touched = touched_by(viewer, service)
    wish = Wished(replicas, steps, soak_seconds, sum(t.requests for t in touched))
    placed = Deployment.objects.filter(service=service, release=old, cluster=cluster).first()
    situation = expected(service, cluster, (old, release), placed, wish, supersedes)
    contract = get_contract(viewer, service)
    gone = missed(viewer, service.pk, pins_from(old.pins), pins_from(release.pins)) if old else ()
    used = touched, gone
    ended = [p.value for p in FINAL]
    busy = supersedes or service.rollouts.exclude(phase__in=ended).order_by("id").first()
    others = busy, supersedes
    found = _proposal(service, cluster, old, release, situation, used, contract, others)
    calendar = calendar_of(service, cluster, busy, begins, timezone.now())
    ways = facts_of(found.plans, situation, touched, calendar, kv=found.kv_domain_changes)
    times = begins_checks(begins, ways[0].earliest)
    return replace(
        found,
        ways=ways,
        begins=begins,
        old_manifests=tuple(items_of(placed.manifest)) if placed and placed.manifest else (),
        checks=(*found.checks, *times),
        supersedes=str(supersedes or ""),
    )


@dataclass(frozen=True, slots=True)
class Wished:
    """What was chosen, None: as usual; and how many requests an hour it got lately."""

    replicas: int | None
    steps: Sequence[StepPlan] | None
    soak_seconds: int | None
    requests_an_hour: int


def expected(
    service: Service,
    cluster: Cluster,
    pair: tuple[Release | None, Release],
    placed: Deployment | None,
    wish: Wished,
    supersedes: Rollout | None,
) -> Situation:
    """What a rollout will find when it begins. `pair`: the old release, which is `placed`, and the
    new one.
    """
    old, release = pair
    found = situation_of(
        service,
        cluster,
        old,
        release,
        placed,
        replicas=wish.replicas or service.replicas,
        steps=() if old is None else tuple(DEFAULT_STEPS if wish.steps is None else wish.steps),
        soak_seconds=DEFAULT_SOAK if wish.soak_seconds is None else wish.soak_seconds,
        requests_an_hour=wish.requests_an_hour,
    )
    if supersedes:
        found = after_end_of(supersedes, found, wish.steps)
    if wish.replicas is None and found.old_replicas and hasattr(service, "scaling"):
        # Where a policy scales it, the load says with how many the next release starts.
        found = replace(found, replicas=found.old_replicas)
    if old and sleeps(service):
        # As it will be once awake; a way back from sleep begins with one replica as well.
        found = replace(found, old_replicas=1, replicas=wish.replicas or 1)
    return found


def prices_of(viewer: Viewer, proposal: Proposal) -> Mapping[str, Hourly]:
    """Of its GPUs; nothing for those who may not see money."""
    if not viewer.may(Permission.VIEW_MONEY):
        return {}
    return hourly_prices(proposal.gpu_mix, timezone.now(), proposal.cluster)


def sleeps(service: Service) -> bool:
    if not hasattr(service, "scaling"):
        return False
    return state_of(service.scaling.slept_at, service.scaling.woken_at) is State.SLEEPING


def refuse_pair(service: Service, release: Release) -> Cluster:
    if release.service_id != service.pk:
        raise Invalid(release=f"{release} is a release of {release.service}, not of {service}")
    if service.cluster is None:
        raise Conflict(f"{service} has no cluster yet: choose one in its settings")
    if service.current_release_id == release.pk:
        raise Conflict(
            f"{release} serves {service} already; another number of replicas is a change of the"
            " service, not a rollout"
        )
    return service.cluster


def _current(service: Service) -> Release | None:
    """The release to move away from: the last that succeeded."""
    if old := service.current_release:
        old.service = service  # the same, and its cluster is known
    return old


def _proposal(
    service: Service,
    cluster: Cluster,
    old: Release | None,
    new: Release,
    s: Situation,
    used: tuple[tuple[Touched, ...], tuple[str, ...]],
    contract: ContractRow,
    others: tuple[Rollout | None, Rollout | None],  # open, and to be superseded
) -> Proposal:
    spec, before = spec_of(new), spec_of(old) if old else None
    touched, gone = used
    changes = compare(before, spec) if before else []
    plans = plans_of(s)
    warnings = [*gone, *warnings_for(service, new, spec), *unfetched(service, cluster)]
    return Proposal(
        service_id=service.pk,
        service=service.name,
        cluster=cluster.slug,
        cluster_id=cluster.pk,
        from_id=old.pk if old else None,
        from_label=str(old) if old else "",
        to_id=new.pk,
        to_label=str(new),
        replicas=s.replicas,
        old_replicas=s.old_replicas,
        gpus=s.gpus_new,
        roles=described(spec),
        gpu_mix={product: sum(pods) for product, pods in spec.pods_by_product.items()},
        plans=tuple(plans),
        steps=tuple(s.steps),
        soak_seconds=s.soak_seconds,
        changes=tuple(changes),
        visible=(*gone, *visible_to_clients(changes)),
        cost=tuple(cost_of(before, spec) if before else ()),
        kv=tuple(kv_reasons(changes)),
        kv_domain_changes=bool(kv_reasons(changes)),
        warnings=tuple(warnings),
        checks=(
            *checks_of(service, old, s, plans[0], warnings, *others),
            contract_check(contract),
            *group_checks(spec, new.fingerprint, cluster.group_sets),
        ),
        manifests=rendered(spec, service, cluster),
        touched=touched,
        contract=contract,
        observed_at=cluster.observed_at,
        situation=s,
    )


def warnings_for(service: Service, new: Release, spec: ReleaseSpec) -> list[str]:
    found = [*warnings_of(spec, request_seconds=service.request_seconds), *signature_warnings(new)]
    return [*found, *filter(None, [refuse_cluster(new)])]


def rendered(spec: ReleaseSpec, service: Service, cluster: Cluster) -> tuple[Manifest, ...]:
    return tuple(render(spec, cluster.namespace, service.max_model_len, cluster.group_sets))


def checks_of(
    service: Service,
    old: Release | None,
    s: Situation,
    best: Plan,
    warnings: Sequence[str],
    busy: Rollout | None,
    supersedes: Rollout | None,
) -> tuple[CheckRow, ...]:
    back = f"{old} succeeded before" if old else "nothing serves: it is taken away again"
    found = [
        CheckRow("All artifacts pinned", "pass", "image digest, commits, arguments"),
        CheckRow("Way back exists", "pass", back),
        CheckRow(
            "GPUs",
            "pass" if best.gpus_missing == 0 and best.answer != "never" else "fail",
            best.why,
        ),
        # Where quotas could not be read, the line "Not known" below says so.
        *([] if s.quotas is None else [quota_check(best)]),
        floor_check(best),
        *peak_check(best, s.peak),
        others_check(service, busy, supersedes),
    ]
    if sleeps(service):
        found.insert(0, CheckRow("Awake", "fail", refuse_rollout(service.name)))
    found += [CheckRow("Not known", "warn", text) for text in best.unmeasured]
    return (*found, *(CheckRow("Known before", "warn", text) for text in warnings))


def others_check(service: Service, busy: Rollout | None, supersedes: Rollout | None) -> CheckRow:
    if supersedes:
        text = f"{supersedes} ({supersedes.phase}) is aborted, this one begins when it has ended"
        return CheckRow("Supersedes another", "warn", text)
    text = f"{busy} is {busy.phase}" if busy else f"on {service}"
    return CheckRow("No other rollout open", "fail" if busy else "pass", text)


def contract_check(contract: ContractRow) -> CheckRow:
    count = len(contract.prompts)
    if not count:
        text = "none is kept: the form of answers is not tried before traffic"
        return CheckRow("Output contract", "warn", text)
    prompts = f"{count} recorded prompt{'s are' if count > 1 else ' is'}"
    text = f"{prompts} put to the first replicas before any traffic (version {contract.version})"
    return CheckRow("Output contract", "pass", text)


def group_checks(spec: ReleaseSpec, fingerprint: str, sets: str) -> tuple[CheckRow, ...]:
    return (*roles_check(spec, fingerprint), *spanning_check(spec, sets))


def roles_check(spec: ReleaseSpec, fingerprint: str) -> tuple[CheckRow, ...]:
    if not spec.roles:
        return ()
    text = (
        f"each replica is {described(spec)}, which move and return as one; blocks stay"
        f" in the KV domain {fingerprint}"
    )
    return (CheckRow("Prefill and decode", "pass", text),)


def spanning_check(spec: ReleaseSpec, sets: str) -> tuple[CheckRow, ...]:
    if not any(map(is_worker, spec.shape)):
        return ()
    how = "as a LeaderWorkerSet" if sets else "as StatefulSets: the cluster has no LeaderWorkerSet"
    text = f"each replica is {described(spec)}, which move and return as one, made {how}"
    row = CheckRow("Engine over several nodes", "pass", text)
    asks = any(part.resources.topology for _, _, part in spec.parts)
    return (row, topology_check(spec, sets)) if asks else (row,)


def topology_check(spec: ReleaseSpec, sets: str) -> CheckRow:
    """What the controller of LeaderWorkerSet keeps, and what was counted of it here."""
    if refusal := refuse_placement(spec, sets):
        return CheckRow("Together and alone", "fail", refusal)
    own = next(part.resources for _, _, part in spec.parts if part.resources.topology)
    pods = f"each {own.subgroup_size} pods" if own.subgroup_size else "all pods of an engine"
    text = f"{pods} on nodes of one {own.topology}, with no other such group beside them"
    if own.topology == CLIQUE and not spec.roles:
        return CheckRow("Together and alone", "pass", f"{text}; cliques are counted")
    return CheckRow("Together and alone", "warn", f"{text}; which nodes have it is not counted")


def quota_check(best: Plan) -> CheckRow:
    if best.quota_free is None:
        return CheckRow("Quota of the namespace", "pass", "none limits GPUs")
    fits = best.quota_free >= best.quota_needed
    needed = f"{best.quota_needed} needed on top" if best.quota_needed else "none needed on top"
    text = f"{best.quota} leaves {counted(best.quota_free, 'GPU')}, {needed}"
    return CheckRow("Quota of the namespace", "pass" if fits else "fail", text)


def floor_check(best: Plan) -> CheckRow:
    if best.floor is None:
        return CheckRow("Disruption budget", "pass", "none was seen")
    floor = f"{counted(best.floor, 'replica')} needed" if best.floor else "it asks for none"
    text = f"{floor}, {answering(best.min_replicas)}"
    kept = best.min_replicas >= best.floor
    return CheckRow("Disruption budget", "pass" if kept else "warn", text)


def peak_check(best: Plan, peak: Peak | None) -> list[CheckRow]:
    if peak is None or best.peak_replicas is None:
        return []
    text = (
        f"{load_words(best.peak_replicas)} needed, {answering(best.min_replicas)}:"
        f" {counted(peak.requests, 'request')} in {peak.slot_seconds // 60} min, about"
        f" {peak.in_flight:.0f} in flight, {peak.each} each by {peak.each_by}"
    )
    kept = best.min_replicas >= best.peak_replicas
    return [CheckRow("Peak of the last 7 days", "pass" if kept else "warn", text)]


def begins_checks(begins: BeginsWithin | None, first: Earliest) -> list[CheckRow]:
    if not begins:
        return []
    late = first.at is None or begins.is_over(first.at)
    text = f"{begins.words}; the earliest: {first.text}"
    return [CheckRow("Time of the start", "warn" if late else "pass", text)]
