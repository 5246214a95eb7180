"""A service is placed elsewhere while a rollout of it is proposed: one of them waits."""

import threading

import pytest
from django.db import connection, transaction

from fleet.actions import placements, rollouts, services
from fleet.models import Rollout
from tenants.base.scope import scope_of
from tenants.errors import Conflict
from tests.fleet.drive.stage import make_stage
from tests.fleet.drive.test_sleep import until_blocked
from tests.fleet.makers import make_cluster

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage():
    return make_stage(serving=False)


def beside(stage, action, *args, **more):
    """In another session, which waits for what this one has locked. Answers what became of it."""
    found = []

    def act():
        try:
            found.append(stage.act(action, *args, **more))
        except Conflict as error:
            found.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=act)
    thread.start()
    return thread, found


def test_a_move_awaits_a_rollout_that_is_being_proposed_and_is_refused(stage):
    release, west = stage.release("b"), make_cluster(slug="west")
    with scope_of(stage.olga), transaction.atomic():
        rollouts.propose_rollout(stage.olga, stage.service.pk, release.pk)
        thread, found = beside(stage, services.change, stage.service.pk, None, cluster_id=west.pk)
        until_blocked()
    thread.join(30)
    assert "A rollout of it is under way" in str(found[0])
    stage.service.refresh_from_db()
    assert stage.service.cluster_id == Rollout.objects.get().cluster_id == stage.cluster.pk


def test_a_rollout_awaits_a_move_and_is_planned_for_the_new_cluster(stage):
    release, west = stage.release("b"), make_cluster(slug="west")
    with scope_of(stage.olga), transaction.atomic():
        services.change(stage.olga, stage.service.pk, None, cluster_id=west.pk)
        thread, found = beside(stage, rollouts.propose_rollout, stage.service.pk, release.pk)
        until_blocked()
    thread.join(30)
    assert "the cluster has none" in str(found[0])  # of GPUs: it is planned for the empty one
    assert not Rollout.objects.filter(cluster=stage.cluster).exists()


@pytest.mark.parametrize("moved", ["chat", "chat-west"])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_what_answers_for_one_name_is_not_moved_into_one_cluster_or_none(stage, moved, elsewhere):
    """Each of them is in a cluster of its own: so they were tied, and a sequence goes by that."""
    west = make_cluster(slug="west")
    other = stage.act(services.create, name="chat-west", cluster_id=west.pk)
    stage.act(placements.set_placements, stage.service.pk, ["chat-west"])
    places = {"chat": (stage.service, west), "chat-west": (other, stage.cluster)}
    service, cluster = places[moved]
    target = cluster.pk if elsewhere else None
    with pytest.raises(Conflict, match="It answers for chat in its cluster"):
        stage.act(services.change, service.pk, None, cluster_id=target)
    stage.act(placements.set_placements, stage.service.pk, [])
    assert stage.act(services.change, service.pk, None, cluster_id=target).cluster_id == target
