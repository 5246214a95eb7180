"""A newer rollout takes the place of an open one, also of one whose way back is blocked."""

import pytest

from fleet.actions import rollouts as actions
from fleet.models import Deployment, Rollout
from fleet.queries.rollouts import get_rollout
from fleet.rules.manifests import RELEASE
from fleet.rules.phases import Phase
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict
from tenants.models import AuditEvent, ChangeRequest
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage():
    return make_stage()


def together(stage, *rollouts, until, most=200):
    """Passes over all of them, until the last one is there."""
    for _ in range(most):
        if Phase(rollouts[-1].phase) in until:
            return
        for rollout in rollouts:
            stage.step(rollout, seconds=3)
    raise AssertionError(f"still {[(r.phase, r.why) for r in rollouts]}")


def blocked(stage):
    """The old release is lost and crashes when it comes back: the new one alone answers."""
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.ANALYZING})
    old = rollout.from_release.fingerprint
    stage.fake.behave(old, "crash")
    for uid, pod in list(stage.fake.pods.items()):
        if pod["metadata"]["labels"][RELEASE] == old:
            del stage.fake.pods[uid]
    stage.act(actions.abort_rollout, rollout.pk, why="wrong words")
    return stage.run(rollout, until={Phase.ROLLBACK_BLOCKED}, most=60)


def succeeded(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout)
    stage.service.refresh_from_db()
    return rollout


def test_a_way_back_ends_a_proposal_that_has_not_begun(stage):
    done = succeeded(stage)
    proposal = stage.propose(stage.release("c"))
    stage.step(proposal)
    back = stage.act(actions.roll_back, done.pk, why="worse")
    assert (back.supersedes_id, back.waits) == (proposal.pk, True)
    stage.step(back)
    assert back.phase == Phase.PREPARING
    assert f"Waits. {proposal}, which it supersedes, has not ended yet" in back.why
    with pytest.raises(Conflict, match="this service is open"):
        stage.act(actions.roll_back, done.pk, why="again")
    together(stage, proposal, back, until={Phase.SUCCEEDED})
    assert proposal.phase == Phase.SUPERSEDED
    assert "A way back goes first. worse. Nothing had been written" in proposal.why
    stage.service.refresh_from_db()
    assert stage.service.current_release == done.from_release
    with fleet_scope():
        assert ChangeRequest.objects.get(pk=proposal.change_id).state == "withdrawn"


def test_a_way_back_that_waits_may_be_called_off(stage):
    done = succeeded(stage)
    proposal = stage.propose(stage.release("c"))
    back = stage.act(actions.roll_back, done.pk, why="worse")
    stage.act(actions.abort_rollout, back.pk, why="it was another service")
    stage.step(back)
    assert back.phase == Phase.CANCELLED, back.why
    stage.step(proposal)
    stage.service.refresh_from_db()
    assert stage.service.current_release == done.to_release


def test_a_way_back_stands_aside_for_what_has_begun(stage):
    done = succeeded(stage)
    moving = stage.propose(stage.release("c"))
    stage.approve(moving)
    stage.run(moving, until={Phase.CANARY_STARTING})
    with pytest.raises(Conflict, match=f"{moving} of this service is open"):
        stage.act(actions.roll_back, done.pk, why="worse")


def test_a_newer_one_supersedes_an_open_one(stage):
    first = stage.propose(stage.release("b"))
    stage.approve(first)
    stage.run(first, until={Phase.ANALYZING})
    newer = stage.propose(stage.release("c"), supersede=True)
    assert (newer.supersedes_id, newer.waits) == (first.pk, True)
    stage.approve(newer)
    stage.step(newer)
    stage.step(newer)
    assert newer.phase == Phase.AWAITING_APPROVAL
    assert f"Approved, and waits. {first}, which it supersedes, has not ended yet" in newer.why
    together(stage, first, newer, until={Phase.SUCCEEDED})
    assert first.phase == Phase.SUPERSEDED
    assert f"{newer} takes its place" in first.why
    rows = {d.release_id: (d.replicas, d.weight) for d in Deployment.objects.all()}
    old = (newer.from_release_id, first.to_release_id)
    assert rows == {newer.to_release_id: (4, 100)} | dict.fromkeys(old, (0, 0))
    shown = stage.act(get_rollout, first.pk), stage.act(get_rollout, newer.pk)
    assert (shown[0].superseded_by, shown[1].supersedes) == (newer.pk, first.pk)
    with fleet_scope():
        assert AuditEvent.objects.filter(verb="rollout.superseded").count() == 1


def test_one_that_had_written_nothing_is_superseded_at_once(stage):
    first = stage.propose(stage.release("b"))
    newer = stage.propose(stage.release("c"), supersede=True)
    stage.step(first)
    newer.refresh_from_db()
    assert (first.phase, newer.waits) == (Phase.SUPERSEDED, False)
    assert ChangeRequest.objects.get(pk=first.change_id).state == "withdrawn"
    stage.approve(newer)
    assert stage.run(newer).phase == Phase.SUCCEEDED


def test_it_ends_as_rolled_back_when_nobody_approves_the_newer_one(stage):
    first = stage.propose(stage.release("b"))
    stage.approve(first)
    stage.run(first, until={Phase.ANALYZING})
    newer = stage.propose(stage.release("c"), supersede=True)
    stage.act(actions.abort_rollout, newer.pk, why="not that one")
    stage.step(newer)
    assert newer.phase == Phase.CANCELLED
    assert stage.run(first).phase == Phase.ROLLED_BACK
    assert stage.act(get_rollout, first.pk).superseded_by is None


def test_it_refuses_a_third_one_and_one_that_nobody_chose_to_supersede(stage):
    stage.propose(stage.release("b"))
    with pytest.raises(Conflict, match="propose this one so that it supersedes it"):
        stage.propose(stage.release("c"))
    newer = stage.propose(stage.release("d"), supersede=True)
    with pytest.raises(Conflict, match=f"{newer} waits already"):
        stage.propose(stage.release("e"), supersede=True)
    assert Rollout.objects.count() == 2


def test_a_way_back_that_began_anew_is_not_superseded(stage):
    first = stage.propose(stage.release("b"))
    stage.approve(first)
    stage.run(first)
    back = stage.act(actions.roll_back, first.pk, why="slow")
    with pytest.raises(Conflict, match="an abort of it would bring"):
        stage.propose(stage.release("c"), supersede=True)
    assert stage.run(back).phase == Phase.SUCCEEDED


def test_a_third_release_is_rolled_out_with_approval_when_the_way_back_is_blocked(stage):
    first = blocked(stage)
    third = stage.release("c")
    with pytest.raises(Conflict, match="r2 still gets 100 % of the traffic. It stops before"):
        stage.propose(third, supersede=True, steps=None)
    newer = stage.propose(third, supersede=True, steps=None, consent=True)
    assert newer.steps == []  # nothing to compare with
    for _ in range(5):
        stage.step(first)
        stage.step(newer)
    new = Deployment.objects.get(release=first.to_release)
    assert (first.phase, new.weight) == (Phase.ROLLBACK_BLOCKED, 100)  # not before the approval
    stage.approve(newer)
    together(stage, first, newer, until={Phase.SUCCEEDED})
    assert first.phase == Phase.SUPERSEDED
    assert "r1 did not come back" in first.why
    stage.service.refresh_from_db()
    assert stage.service.current_release_id == third.pk
    assert stage.fake.serving(third.fingerprint) == 4


def test_another_takes_the_place_of_the_one_that_was_given_up(stage):
    """The end of the open one set the given-up one free, and the other waited for ever."""
    first = stage.propose(stage.release("b"))
    stage.approve(first)
    stage.run(first, until={Phase.ANALYZING})
    given_up = stage.propose(stage.release("c"), supersede=True)
    stage.act(actions.abort_rollout, given_up.pk, why="not that one")
    stage.step(given_up)
    assert given_up.phase == Phase.CANCELLED
    newer = stage.propose(stage.release("d"), supersede=True)
    assert stage.run(first).phase == Phase.SUPERSEDED
    newer.refresh_from_db()
    assert not newer.waits
    assert stage.act(get_rollout, first.pk).superseded_by == newer.pk
