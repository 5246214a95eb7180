"""The output contract of a rollout on PostgreSQL: frozen at the proposal, kept with its answers."""

import pytest

from fleet.actions import contracts, rollouts
from fleet.models import ContractResult, EngineProbe, Rollout
from fleet.queries.rollouts import get_rollout
from fleet.rules.phases import Cause, Phase
from tenants.base.scope import scope_of
from tenants.models import ChangeRequest
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)
GREETS = {"name": "greets", "kind": "text", "prompt": "Say hello", "contains": ["hello"]}
CITY = {"name": "city", "kind": "json", "prompt": "Capital?", "schema": {"type": "object"}}


@pytest.fixture
def stage():
    found = make_stage()
    keep(found, 0, [GREETS, CITY])
    return found


def keep(stage, version, prompts):
    stage.act(
        contracts.keep_contract, stage.service.pk, version, prompts=prompts, why="clients rely"
    )


def roll_out(stage, behaviour="good", **changes):
    release = stage.release("b")
    stage.fake.behave(release.fingerprint, behaviour)
    rollout = stage.propose(release, **changes)
    stage.approve(rollout)
    return stage.run(rollout)


def test_a_release_that_keeps_it_goes_on_with_the_proof_kept(stage):
    rollout = roll_out(stage)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    kept = ContractResult.objects.get()
    assert (kept.rollout_id, kept.contract.version, kept.verdict) == (rollout.pk, 1, "pass")
    told = {a["name"]: (a["verdict"], a["shown"]) for a in kept.answers}
    assert told == {"greets": ("pass", "hello"), "city": ("pass", '{"city": "Paris"}')}
    assert rollout.memory["contract"] == []
    probes = EngineProbe.objects.filter(told__startswith="greets: as expected")
    assert [(p.prompt_tokens, p.completion_tokens) for p in probes] == [(5, 2)]


def test_a_release_that_breaks_it_goes_back_with_its_cause_and_answers(stage):
    rollout = roll_out(stage, "breaks_contract")
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OUTPUT_CONTRACT)
    assert "on “greets” expected it to contain 'hello', got 'goodbye'" in rollout.why
    with scope_of(stage.olga):
        found = get_rollout(stage.olga, rollout.pk).contract
    assert (found.version, found.prompts, found.verdict) == (1, 2, "fail")
    assert {a["shown"] for a in found.answers} == {"goodbye"}
    assert all(a["pod"] for a in found.answers)
    assert stage.fake.serving(rollout.from_release.fingerprint) == 4


def test_the_first_release_of_a_service_must_keep_it_too():
    stage = make_stage(replicas=2, serving=False)
    keep(stage, 0, [GREETS])
    rollout = roll_out(stage, "breaks_contract")
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OUTPUT_CONTRACT)


def test_an_engine_that_answers_no_prompt_is_asked_again_before_it_goes_back(stage):
    release = stage.release("b")
    stage.fake.behave(release.fingerprint, "mute")
    rollout = stage.propose(release)
    stage.approve(rollout)
    stage.run(rollout, until={Phase.CANARY_VERIFYING})
    for _ in range(5):
        stage.step(rollout)
    assert rollout.phase == Phase.CANARY_VERIFYING
    assert "asks again" in rollout.why
    with scope_of(stage.olga):
        found = get_rollout(stage.olga, rollout.pk).contract
    assert (found.verdict, {a["verdict"] for a in found.answers}) == ("", {"error"})
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.NEVER_READY)
    assert ContractResult.objects.get().verdict == "error"


def test_a_rollout_holds_to_the_version_of_its_proposal(stage):
    rollout = stage.propose(stage.release("b"))
    change = ChangeRequest.objects.get(pk=rollout.change_id)
    assert change.payload["output_contract"] == 1
    keep(stage, 1, [GREETS | {"contains": ["goodbye"]}])
    stage.approve(rollout)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert ContractResult.objects.get().contract.version == 1


def test_the_version_is_part_of_what_was_approved(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    changed = {k: v for k, v in rollout.plan.items() if k != "contract"}
    Rollout.objects.filter(pk=rollout.pk).update(plan=changed)
    stage.run(rollout)
    assert rollout.phase == Phase.REJECTED
    assert "not what would be applied" in rollout.why


def test_a_way_back_asks_nothing(stage):
    rollout = roll_out(stage)
    stage.fake.calls.clear()
    back = stage.act(rollouts.roll_back, rollout.pk, why="the old one was better")
    stage.run(back)
    assert back.phase == Phase.SUCCEEDED, back.why
    assert [c for c in stage.fake.calls if c[0] == "put"] == []
    assert ContractResult.objects.count() == 1


def test_a_service_without_prompts_is_asked_nothing(stage):
    keep(stage, 1, [])
    rollout = roll_out(stage)
    assert rollout.phase == Phase.SUCCEEDED
    assert "contract" not in rollout.plan
    with scope_of(stage.olga):
        assert get_rollout(stage.olga, rollout.pk).contract is None
    assert not ContractResult.objects.exists()
