"""A canary for some: proposed by name, frozen, told to gateways, judged among themselves."""

import pytest

from fleet.models import Deployment
from fleet.queries.rollouts import get_rollout
from fleet.queries.routing import build_routing
from fleet.rules.audience import Asked
from fleet.rules.phases import Cause, Phase
from gateway.contract.outcomes import TrafficClass
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Invalid
from tenants.models import Application, ChangeRequest, Tenant
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage():
    made = make_stage()
    with fleet_scope():
        made.people = [Tenant.objects.create(slug=s, name=s) for s in ("acme", "globex", "initech")]
        Application.objects.create(tenant=made.people[1], slug="chat", name="Chat")
    acme, globex, _ = (t.pk for t in made.people)
    made.tenants = {acme: 1.0, globex: 1.0}
    return made


def canary(stage):
    with fleet_scope():
        return build_routing(stage.fake.now).services["chat"].canary


def test_it_moves_those_who_go_first_and_spares_those_who_go_last(stage):
    acme, globex, initech = (t.pk for t in stage.people)
    asked = Asked(("acme", "globex/chat"), ("batch",), ("initech",))
    rollout = stage.propose(stage.release("b"), audience=asked)
    payload = ChangeRequest.objects.get(pk=rollout.change_id).payload
    assert payload["audience"]["Not before all gates passed"] == "initech"
    stage.approve(rollout)
    stage.run(rollout, until={Phase.ANALYZING})
    first = canary(stage)
    assert (first.only_tenants, first.never_tenants) == ((acme,), (initech,))
    assert first.only_applications and first.only_classes == (TrafficClass.BATCH,)
    stage.run(rollout, until={Phase.SHIFTING})
    assert rollout.step == 1
    then = canary(stage)
    assert (then.only_tenants, then.never_tenants) == ((), (initech,))
    stage.run(rollout, until={Phase.PROMOTING})
    assert canary(stage).never_tenants == ()
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert canary(stage) is None
    with scope_of(stage.olga):
        told = get_rollout(stage.olga, rollout.pk).audience
    assert told["First step only for"] == "acme, globex/chat, class batch"


def test_it_judges_the_first_step_among_those_who_go_first(stage):
    """Globex asks ten times as much of the old release: no part of share or comparison."""
    acme, globex, _ = (t.pk for t in stage.people)
    stage.tenants, stage.staying = {acme: 1.0}, {globex: 10.0}
    rollout = stage.propose(stage.release("b"), audience=Asked(("acme",)))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.ANALYZING})
    assert rollout.memory["share"] == pytest.approx(0.1, abs=0.05)
    stage.run(rollout, until={Phase.SHIFTING})
    kept = rollout.gates.get()
    assert kept.verdict == "pass"
    assert kept.checks[0]["stable_samples"] < 2000  # of acme alone
    said = rollout.timeline.order_by("id").values_list("why", flat=True)
    assert "10 % of the traffic of acme goes to r2" in said


def test_a_pause_keeps_the_division(stage):
    rollout = stage.propose(stage.release("b"), audience=Asked(("acme",)))
    stage.approve(rollout)
    stage.per_second = 0
    stage.run(rollout, until={Phase.PAUSED}, most=400)
    assert canary(stage).only_tenants == (stage.people[0].pk,)
    assert Deployment.objects.get(release=rollout.to_release).weight == 10


UNKNOWN = {
    "a tenant": (Asked(("nobody",)), "There is no tenant 'nobody'"),
    "an application": (Asked(("acme/none",)), "There is no application 'acme/none'"),
    "a class": (Asked((), ("royal",)), "There is no traffic class 'royal'"),
    "one that goes last": (Asked((), (), ("nobody",)), "There is no tenant 'nobody'"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_it_names_whom_it_does_not_know(stage, case):
    asked, words = UNKNOWN[case]
    with pytest.raises(Invalid) as refused:
        stage.propose(stage.release("b"), audience=asked)
    assert words in str(refused.value.fields)


def test_it_refuses_who_goes_first_and_last(stage):
    with pytest.raises(Conflict, match="acme cannot go first"):
        stage.propose(stage.release("b"), audience=Asked(("acme",), (), ("acme",)))


def test_it_judges_the_first_step_among_applications_that_go_first(stage):
    """Its answers find no end with the new release; the rest of its tenant has no part in that."""
    acme, globex, _ = (t.pk for t in stage.people)
    with fleet_scope():
        chat = Application.objects.get(tenant_id=globex).pk
    stage.tenants, stage.staying = {globex: 1.0}, {acme: 3.0}
    stage.applications = {globex: chat}
    stage.finish = ("stop", "length")
    rollout = stage.propose(stage.release("b"), audience=Asked(("globex/chat",)))
    stage.approve(rollout)
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED), rollout.why
    kept = rollout.gates.latest("id")
    assert "ended at the token limit 100.00%" in kept.why
    assert kept.step == 0
    share = 0.1 * kept.checks[0]["stable_samples"]
    assert kept.checks[0]["samples"] == pytest.approx(share, rel=0.3)
