"""What a rollout depends on, stored when it is proposed: nothing of it changes afterwards."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from fleet.models import Deployment, Release, Rollout
from fleet.queries.contracts import current_contract
from fleet.queries.plans import Proposal
from fleet.queries.prices import hourly_prices
from fleet.queries.releases import fetch_release, spec_of
from fleet.rules.audience import Audience
from fleet.rules.manifests import items_of, surroundings
from fleet.rules.phases import Phase
from fleet.rules.plan import Plan
from fleet.rules.proposal import numbers_of
from fleet.rules.release import digest_json
from fleet.rules.surge_cost import priced
from tenants.errors import Conflict
from tenants.rules.access import Viewer


def freeze(
    viewer: Viewer,
    proposal: Proposal,
    plan: Plan,
    *,
    patience: int,
    reason: str,
    is_rollback: bool = False,
    audience: Audience | None = None,
    supersedes: Rollout | None = None,
    limits: Mapping[str, float | None] | None = None,
) -> Rollout:
    """Store the rollout with everything that it depends on."""
    new = fetch_release(viewer, proposal.to_id)
    old = fetch_release(viewer, proposal.from_id) if proposal.from_id else None
    spec, before = spec_of(new), spec_of(old) if old else None
    manifests = manifests_of(proposal, new)
    numbers = numbers_of(plan, proposal.situation, spec, before, patience, limits or {})
    frozen = {"numbers": asdict(numbers)} | planned(proposal, plan)
    frozen |= {"audience": audience.as_json()} if audience else {}
    frozen |= promised(proposal, is_rollback=is_rollback)
    frozen |= waits_for(new, is_rollback=is_rollback)
    # Without a moment with both releases there is nothing to compare: no steps, no gates.
    steps = [asdict(step) for step in proposal.steps] if plan.gated else []
    rollout = Rollout(
        service_id=proposal.service_id,
        cluster_id=proposal.cluster_id,
        from_release=old,
        to_release=new,
        plan_kind=plan.kind.value,
        plan=frozen,
        steps=steps,
        replicas=proposal.replicas,
        reason=reason.strip(),
        requested_by_id=viewer.user_id,
        manifests=manifests,
        manifest_digest=digest_json({"manifests": manifests, "plan": frozen, "steps": steps}),
        is_rollback=is_rollback,
        supersedes=supersedes,
        waits=supersedes is not None,
        phase=(Phase.PREPARING if is_rollback else Phase.VALIDATING).value,
        phase_since=Now(),
        look_again=Now(),
        why="Rolls back" if is_rollback else "Proposed",
    )
    return stored(rollout)


def planned(proposal: Proposal, plan: Plan) -> dict[str, Any]:
    """What people saw before they agreed."""
    return (
        {
            "plan": asdict(plan),
            "starts": asdict(proposal.situation.starts_new),
            "touched": [asdict(one) for one in proposal.touched],
        }
        | ({"begins": proposal.begins.as_json()} if proposal.begins else {})
        | price_of(proposal, plan)
    )


def stored(rollout: Rollout) -> Rollout:
    try:
        with transaction.atomic():
            rollout.save()
    except IntegrityError as error:
        raise Conflict("Somebody proposed a rollout of this service meanwhile") from error
    rollout.refresh_from_db()
    return rollout


def promised(proposal: Proposal, *, is_rollback: bool) -> dict[str, Any]:
    """The version of the output contract; a way back asks nothing."""
    contract = None if is_rollback else current_contract(proposal.service_id)
    return {"contract": contract.version} if contract else {}


def price_of(proposal: Proposal, plan: Plan) -> dict[str, Any]:
    """What the GPUs on top will cost, as far as prices are known today."""
    prices = hourly_prices(plan.on_top, timezone.now(), proposal.cluster)
    found = priced(plan.on_top, plan.finish_seconds, prices)
    return {"price": found} if found else {}


def waits_for(release: Release, *, is_rollback: bool) -> dict[str, Any]:
    """A way back waits for no image."""
    return {} if is_rollback else {"prefetch_seconds": release.service.prefetch_seconds}


def manifests_of(proposal: Proposal, release: Release) -> list[dict[str, Any]]:
    """As approved when this release was placed before, otherwise as rendered now."""
    placed = Deployment.objects.filter(
        service_id=proposal.service_id, release=release, cluster_id=proposal.cluster_id
    ).first()
    if placed and placed.manifest:
        return surroundings(proposal.manifests) + items_of(placed.manifest)
    return list(proposal.manifests)
