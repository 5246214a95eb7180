"""A rollout with a shadow: frozen, told to gateways, judged by copies, met by no client."""

import pytest

from fleet.actions.rollouts import abort_rollout
from fleet.drive import record
from fleet.models import Deployment, GateResult, ShadowSlot, TrafficSlot
from fleet.queries.rollout_traffic import traffic_of
from fleet.queries.rollouts import get_rollout
from fleet.queries.routing import build_routing
from fleet.rules.audience import Asked
from fleet.rules.phases import Cause, Phase, PlanKind
from fleet.rules.situation import StepPlan
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict
from tenants.models import ChangeRequest, Tenant
from tests.fleet.drive.stage import STEPS, make_stage

pytestmark = pytest.mark.django_db(transaction=True)
SHADOW = StepPlan(20, 10, 20, shadow=True)


@pytest.fixture
def stage():
    made = make_stage()
    with fleet_scope():
        made.people = [Tenant.objects.create(slug=s, name=s) for s in ("acme", "globex")]
    made.tenants = {t.pk: 1.0 for t in made.people}
    return made


def propose(stage, **changes):
    rollout = stage.propose(stage.release("b"), steps=(SHADOW, STEPS[1]), **changes)
    stage.approve(rollout)
    return rollout


def service_at_gateways(stage):
    with fleet_scope():
        return build_routing(stage.fake.now).services["chat"]


def answered(stage, model, rollout):
    with fleet_scope():
        rows = model.objects.filter(release_id=rollout.to_release_id, seconds=10)
        return {row.tenant_id for row in rows}


def test_it_copies_compares_and_only_then_moves_traffic(stage):
    rollout = propose(stage)
    stage.run(rollout, until={Phase.ANALYZING})
    offered = service_at_gateways(stage)
    assert offered.canary.shadow_percent == 20
    shadow = next(p for p in offered.pools if p.release_id == rollout.to_release_id)
    assert shadow.weight == 0 and shadow.endpoints
    with scope_of(stage.olga):
        seen = get_rollout(stage.olga, rollout.pk)
    assert (seen.rollout.percent, seen.rollout.shadow) == (0, 20)
    assert [s.shadow for s in seen.steps] == [True, False]
    assert 0.1 < rollout.memory["share"] <= 0.2
    stage.run(rollout, until={Phase.SHIFTING})
    assert not answered(stage, TrafficSlot, rollout)
    assert answered(stage, ShadowSlot, rollout) == {t.pk for t in stage.people}
    kept = GateResult.objects.get(rollout=rollout)
    assert (kept.step, kept.verdict) == (0, "pass")
    assert kept.checks[0]["samples"] >= 20 < kept.checks[0]["stable_samples"]
    assert any("FROM shadow_slot" in s for s in kept.evidence["sources"])
    assert service_at_gateways(stage).canary.shadow_percent == 0
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    with scope_of(stage.olga):
        points = traffic_of(stage.olga, rollout.pk, stage.fake.now)
    copied = [p for p in points if p.copies]
    assert copied and copied[0].share == 0.0 and copied[0].ttft_new is not None
    assert points[-1].share == 1.0 and not points[-1].copies


def test_it_goes_back_when_copies_of_one_tenant_fail_and_no_client_met_it(stage):
    stage.hurt = stage.people[0].pk
    rollout = propose(stage)
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED), rollout.why
    assert "as a shadow of 20 % failed" in rollout.why and "tenant acme" in rollout.why
    assert not answered(stage, TrafficSlot, rollout)
    assert answered(stage, ShadowSlot, rollout)
    assert GateResult.objects.get(rollout=rollout).verdict == "fail"
    told = rollout.timeline.values_list("detail", flat=True)
    assert not any(d.get("weight_new") for d in told)


def test_it_copies_those_who_go_first_and_never_those_who_go_last(stage):
    acme, globex = (t.pk for t in stage.people)
    stage.hurt = globex
    steps = (SHADOW, *STEPS)
    rollout = stage.propose(
        stage.release("b"), steps=steps, audience=Asked(("acme",), (), ("globex",))
    )
    stage.approve(rollout)
    stage.run(rollout, until={Phase.ANALYZING})
    canary = service_at_gateways(stage).canary
    assert (canary.only_tenants, canary.never_tenants) == ((acme,), (globex,))
    stage.run(rollout, until={Phase.SHIFTING})
    assert answered(stage, ShadowSlot, rollout) == {acme}
    assert "of acme go to r2" in " ".join(rollout.timeline.values_list("why", flat=True))
    stage.step(rollout)
    assert service_at_gateways(stage).canary.only_tenants == (acme,)  # the first with traffic too


def test_gateways_are_told_when_it_begins_and_when_it_ends(stage, monkeypatch):
    told = []
    monkeypatch.setattr(record, "nudge", lambda *call: told.append(call))
    rollout = propose(stage)
    while rollout.phase != Phase.SHIFTING:
        told.clear()
        stage.step(rollout)
    assert told
    stage.run(rollout, until={Phase.ANALYZING})
    stage.act(abort_rollout, rollout.pk)
    told.clear()
    stage.step(rollout)
    assert told and service_at_gateways(stage).canary is None


def test_a_pause_goes_on_copying(stage):
    rollout = propose(stage)
    stage.per_second = 0
    stage.run(rollout, until={Phase.PAUSED}, most=400)
    assert "requests of the canary are missing" in rollout.why
    assert service_at_gateways(stage).canary.shadow_percent == 20
    assert Deployment.objects.get(release=rollout.to_release).weight == 0


def test_a_shadow_is_part_of_what_was_approved(stage):
    rollout = propose(stage)
    assert ChangeRequest.objects.get(pk=rollout.change_id).payload["steps"][0]["shadow"]
    rollout.steps[0]["shadow"] = False
    rollout.save(update_fields=["steps"])
    stage.run(rollout)
    assert rollout.phase == Phase.REJECTED
    assert "not what would be applied" in rollout.why


def test_it_refuses_a_shadow_where_the_old_release_would_shrink(stage):
    with pytest.raises(Conflict, match="A shadow step compares a canary with a stable release"):
        propose(stage, kind=PlanKind.REPLACE)
