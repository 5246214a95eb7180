"""Two rollouts of a cluster whose free GPUs suffice for one."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client

from fleet.actions import freezes, rollouts
from fleet.models import Node, Service
from fleet.queries.by_hand import gpus_of
from fleet.queries.queue import list_queues
from fleet.queries.situations import needs_of, takes_on_top
from fleet.rules.freeze import Window
from fleet.rules.phases import Phase
from tenants.actions import changes
from tenants.base.scope import scope_of
from tenants.models import ChangeRequest, User
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chat():
    """Four replicas on five GPUs."""
    return make_stage(gpus=5)


@pytest.fixture
def embed(chat):
    """Nothing of it runs yet."""
    service = Service.objects.create(name="embed", cluster=chat.cluster, replicas=1)
    return replace(chat, service=service)


def approved(stage):
    rollout = stage.propose(stage.release("b"))
    stage.step(rollout)
    stage.approve(rollout)
    return rollout


def turns(stage):
    """As the overview shows them, in the order of their turns."""
    with scope_of(stage.olga):
        rows = [row for queue in list_queues(stage.olga) for row in queue.rows]
    return {row.service: (row.turn, tuple(pk for pk, _ in row.waits_for)) for row in rows}


def asked(address):
    client = Client()
    client.force_login(User.objects.get(name="olga"))
    return client.get(address).json()


def test_the_second_one_waits_says_for_whom_and_begins_when_the_first_is_over(chat, embed):
    first, second = approved(chat), approved(embed)
    assert second.plan["plan"]["answer"] == "queued"
    embed.step(second)
    assert second.phase == Phase.AWAITING_APPROVAL
    assert f"It waits for {first} of chat" in second.why
    assert "1 H100-80GB-HBM3 missing: 1 needed" in second.why
    assert turns(chat) == {"chat": ("next", ()), "embed": ("waits", (first.pk,))}
    (queue,) = asked("/api/v1/rollouts/queues")
    assert [(r["rollout"], r["waits_for"]) for r in queue["rows"]] == [
        (str(first), []),
        (str(second), [first.pk]),
    ]

    chat.step(first)
    assert first.phase == Phase.PREPARING
    for _ in range(2):
        chat.step(first)
    Node.objects.update(gpus_used=5)  # as the observer sees it by now
    assert turns(chat) == {"chat": ("holds", ()), "embed": ("waits", (first.pk,))}
    chat.act(rollouts.abort_rollout, first.pk, why="a better one comes")
    chat.run(first)
    Node.objects.update(gpus_used=4)
    embed.step(second)
    assert second.phase == Phase.PREPARING
    assert turns(chat) == {}


def test_a_proposal_that_nobody_approved_holds_nobody_up(chat, embed):
    first = chat.propose(chat.release("b"))
    chat.step(first)
    second = approved(embed)
    assert turns(chat) == {}
    embed.step(second)
    assert (first.phase, second.phase) == (Phase.AWAITING_APPROVAL, Phase.PREPARING)


def test_the_younger_one_does_not_hold_up_the_older_one(chat, embed):
    first, second = approved(chat), approved(embed)
    chat.step(first)
    embed.step(second)
    assert (first.phase, second.phase) == (Phase.PREPARING, Phase.AWAITING_APPROVAL)


def test_what_was_planned_before_products_were_told_apart_still_claims():
    numbers = {"product": "NVIDIA-H100-80GB-HBM3", "gpus_new": 3, "gpus_old": 1, "surge": 2}
    (need,) = needs_of(numbers | {"pods_new": [2, 1]})
    assert (need.product, need.total, need.pods) == (numbers["product"], 6, (2, 1))
    assert takes_on_top(numbers) and not takes_on_top(numbers | {"surge": 0})
    assert not takes_on_top({})
    assert gpus_of(numbers, 4, 4) == ({"": 3}, {"": 1}, {"": 12})


def test_one_that_a_freeze_keeps_back_holds_nobody_up(chat, embed):
    window = Window("Incident 7", "GPU errors", chat.fake.now - timedelta(hours=1))
    freeze = chat.act(freezes.create_freeze, window, service_id=chat.service.pk)
    first, second = approved(chat), approved(embed)
    chat.step(first)
    assert "“Incident 7” lets no rollout begin" in first.why
    assert second.plan["plan"]["answer"] == "possible"
    assert turns(chat) == {}
    embed.step(second)
    assert second.phase == Phase.PREPARING
    with scope_of(chat.vic):
        freezes.end_freeze(chat.vic, freeze.pk, why="the cards were changed")
    chat.step(first)
    assert f"It waits for {second} of embed" in first.why


def test_one_with_an_exception_has_its_turn(chat, embed):
    window = Window("Incident 7", "GPU errors", chat.fake.now - timedelta(hours=1))
    chat.act(freezes.create_freeze, window, service_id=chat.service.pk)
    first, second = approved(chat), approved(embed)
    change = chat.act(freezes.ask_exception, first.pk, why="it mends the incident")
    with scope_of(chat.vic):
        asked = ChangeRequest.objects.get(pk=change)
        changes.decide(chat.vic, asked.pk, digest=asked.digest, approve=True)
    assert turns(chat) == {"chat": ("next", ()), "embed": ("waits", (first.pk,))}
    embed.step(second)
    assert f"It waits for {first} of chat" in second.why
