"""A cluster of a sequence begins no earlier than stated; the change calendar is shown with it."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from fleet.actions import freezes, sequences
from fleet.models import Rollout
from fleet.queries.sequences import get_sequence
from fleet.queries.stage_times import list_openings
from fleet.rules.begins_within import FARTHEST
from fleet.rules.freeze import Window
from fleet.rules.sequence import Phase, StageState
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Invalid
from tenants.models import AuditEvent, ChangeRequest
from tests.fleet.drive.test_sequences import begun, stage_in
from tests.fleet.drive.two_clusters import make_two_clusters

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


@pytest.fixture
def both():
    return make_two_clusters()


def shown(both, sequence):
    with scope_of(both.home.olga):
        return get_sequence(both.home.olga, sequence.pk).sequence.stages


def freeze(both, cluster, ends_at):
    window = Window("Night shift", "nobody is there", timezone.now() - HOUR, ends_at)
    both.act(freezes.create_freeze, window, cluster_id=cluster.pk)


def test_the_second_cluster_waits_for_its_time_and_says_until_when(both):
    opens = both.home.fake.now + 3 * HOUR
    sequence = begun(both, begins_from={"chat": opens})
    both.until(sequence, lambda: stage_in(sequence, "west").state == StageState.DONE)
    both.step(sequence)
    both.step(sequence)
    east = stage_in(sequence, "east")
    assert east.rollout is None
    words = f"Begins from {opens:%a %d %b %H:%M} UTC, as it was approved"
    assert (east.why, sequence.why) == (words, f"east: {words}")
    for stage in both.stages:
        stage.fake.now = opens
    both.run(sequence)
    assert sequence.phase == Phase.SUCCEEDED, sequence.why
    assert stage_in(sequence, "east").rollout.started_at >= opens


def test_the_time_is_part_of_what_is_approved_and_of_the_record(both):
    opens = both.home.fake.now + HOUR
    sequence = both.propose(begins_from={"chat": opens})
    payload = ChangeRequest.objects.get(pk=sequence.change_id).payload
    told = {s["service"]: s.get("begins", "") for s in payload["stages"]}
    assert told == {"chat-west": "", "chat": f"from {opens:%a %d %b %H:%M} UTC"}
    with fleet_scope():
        event = AuditEvent.objects.get(verb="sequence.propose")
    assert event.after["begins_from"] == {"chat": opens.isoformat()}


def test_a_way_back_and_an_end_wait_for_no_time(both):
    sequence = begun(both, begins_from={"chat": both.home.fake.now + HOUR})
    both.until(sequence, lambda: stage_in(sequence, "west").state == StageState.DONE)
    both.act(sequences.roll_back_sequence, sequence.pk, why="worse answers")
    both.run(sequence)
    assert sequence.phase == Phase.ROLLED_BACK, sequence.why
    assert not Rollout.objects.filter(service=both.home.service).exists()


def test_a_freeze_of_a_later_cluster_is_shown_before_its_turn(both):
    ends = both.home.fake.now + 5 * HOUR
    freeze(both, both.home.cluster, ends)
    sequence = both.propose(begins_from={"chat": both.home.fake.now + HOUR})
    west, east = shown(both, sequence)
    assert (west.opens_at, west.opens_why) == (None, "")
    assert east.opens_at == ends
    assert east.opens_why == "“Night shift” lets no rollout begin before"
    with scope_of(both.home.olga):
        services = [s.service.pk for s in both.stages]
        found = list_openings(both.home.olga, services, timezone.now())
    assert [(cluster, one.at) for cluster, one in found] == [("east", ends)]
    out = StringIO()
    call_command("rollout", "sequences", stdout=out)
    told = f"begins at the earliest {ends:%a %d %b %H:%M} UTC: “Night shift” lets no rollout begin"
    assert told in out.getvalue()


def test_a_hold_has_no_time(both):
    freeze(both, both.home.cluster, None)
    _, east = shown(both, both.propose())
    assert (east.opens_at, east.opens_why) == (None, "when somebody ends “Night shift”")


REFUSED = {
    "nobody": ({"chat-asia": HOUR}, "'chat-asia' is none of chat-west, chat"),
    "too far": ({"chat": FARTHEST + HOUR}, "chat: At most 30 days ahead"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses(both, name):
    times, told = REFUSED[name]
    now = timezone.now()
    with pytest.raises(Invalid, match=told):
        both.propose(begins_from={service: now + later for service, later in times.items()})
