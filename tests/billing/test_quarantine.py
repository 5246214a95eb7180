"""Events that were put aside: one person asks to take, correct or drop them, another approves."""

import hashlib
import json
from datetime import timedelta

import pytest
from django.db import DataError

from billing.actions import quarantine
from billing.actions.ingest import ingest
from billing.actions.quarantine import apply_decisions, ask, ask_to_correct
from billing.models import HourMark, QuarantineDecision, QuarantineItem, UsageEvent, UsageQuarantine
from billing.rules.quarantine import Kind
from tenants.actions import changes
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid, NotFound
from tenants.models import Application, AuditEvent, ChangeRequest
from tests.billing.doors import Door, make_token
from tests.billing.factories import NOW, batch, cloud, usage

pytestmark = pytest.mark.django_db


def put_aside(gateway, data):
    (bad,) = ingest(gateway, batch(data), now=NOW).quarantined
    with fleet_scope():
        return UsageQuarantine.objects.get(event_id=bad.event_id, reason=bad.reason)


def question(fin, kind, *rows, why="A reason"):
    with scope_of(fin):
        return ask(fin, [row.pk for row in rows], kind=kind, why=why, now=NOW)


def correction(fin, row, data, **envelope):
    with scope_of(fin):
        text = json.dumps(cloud(data, **envelope))
        return ask_to_correct(fin, row.pk, corrected=text, why="A reason", now=NOW)


def decide(vic, decision, *, approve=True):
    with fleet_scope():
        change = ChangeRequest.objects.get(pk=decision.change_id)
        changes.decide(vic, change.pk, digest=change.digest, approve=approve, why="seen")
    assert apply_decisions(NOW) == 1
    assert apply_decisions(NOW) == 0
    decision.refresh_from_db()
    return decision


def outcomes(decision):
    with fleet_scope():
        return list(decision.items.order_by("id").values_list("outcome", flat=True))


def test_it_takes_an_event_that_was_too_late_once_another_person_approves(acme, gateway, fin, vic):
    row = put_aside(gateway, usage(acme, at=NOW - timedelta(days=70)))
    decision = question(fin, Kind.TAKE, row, why="The site was cut off for ten weeks")
    with fleet_scope():
        assert not UsageEvent.objects.exists(), "nothing happens before the approval"
        change = ChangeRequest.objects.get()
        with pytest.raises(Forbidden):
            changes.decide(fin, change.pk, digest=change.digest, approve=True, why="me")
    assert decide(vic, decision).state == "done"
    with fleet_scope():
        assert UsageEvent.objects.get().event_time == NOW - timedelta(days=70)
        assert HourMark.objects.count() == 1
        assert not UsageQuarantine.objects.exists()
        said = AuditEvent.objects.get(verb="usage_quarantine.take")
        assert said.why == "The site was cut off for ten weeks"
        assert (said.after["asked_by"], said.after["decided_by"]) == (
            "fiona@example.com", "vic@example.com",
        )  # fmt: skip


def test_it_takes_an_event_once_its_application_is_known(acme, gateway, fin, vic):
    row = put_aside(gateway, usage(acme, application_id=777_777))
    with pytest.raises(Conflict, match="no application"):
        question(fin, Kind.TAKE, row)
    with fleet_scope():
        Application.objects.create(pk=777_777, tenant=acme, slug="new", name="New")
    decide(vic, question(fin, Kind.TAKE, row))
    with fleet_scope():
        assert UsageEvent.objects.count() == 1


def test_it_never_takes_a_second_content_of_one_id(acme, gateway, fin):
    first = usage(acme)
    ingest(gateway, batch(first), now=NOW)
    row = put_aside(gateway, first | {"completion_tokens": 9})
    with pytest.raises(Conflict):
        question(fin, Kind.TAKE, row)
    with fleet_scope():
        assert UsageEvent.objects.get().completion_tokens == 30


def test_it_drops_events_for_good_and_keeps_what_they_said(acme, gateway, fin, vic):
    kept = [put_aside(gateway, usage(acme, tenant_id=999_999)) for _ in range(3)]
    decision = question(fin, Kind.DROP, *kept, why="A test installation reported to us")
    with pytest.raises(Conflict, match="asked already"):
        question(fin, Kind.TAKE, kept[0])
    decide(vic, decision)
    with pytest.raises(NotFound):
        question(fin, Kind.DROP, kept[0])
    assert outcomes(decision) == ["dropped"] * 3
    with fleet_scope():
        assert "999999" in QuarantineItem.objects.first().payload.replace(" ", "")


def test_an_event_that_the_database_refuses_stops_no_other_decision(
    acme, gateway, fin, vic, monkeypatch
):
    """It waits on, and says why; the sweep would have ended at it each time."""
    ages = (timedelta(days=70), timedelta(days=71))
    poisoned, good = (put_aside(gateway, usage(acme, at=NOW - age)) for age in ages)
    first, second = (question(fin, Kind.TAKE, row) for row in (poisoned, good))
    store = quarantine.store

    def refuse(source_id, judged, **given):
        if judged[0].event_id == poisoned.event_id:
            raise DataError("bigint out of range")
        return store(source_id, judged, **given)

    monkeypatch.setattr(quarantine, "store", refuse)
    with fleet_scope():
        for change in ChangeRequest.objects.all():
            changes.decide(vic, change.pk, digest=change.digest, approve=True, why="seen")
    assert apply_decisions(NOW) == 2
    with pytest.raises(Conflict, match="The database refuses it"):
        question(fin, Kind.TAKE, poisoned)
    assert (outcomes(first), outcomes(second)) == (["kept"], ["taken"])
    with fleet_scope():
        assert "bigint out of range" in first.items.get().said
        assert UsageQuarantine.objects.get() == poisoned
        assert UsageEvent.objects.count() == 1


def test_what_is_turned_down_goes_on_waiting(acme, gateway, fin, vic):
    row = put_aside(gateway, usage(acme, tenant_id=999_999))
    assert decide(vic, question(fin, Kind.DROP, row), approve=False).state == "refused"
    with fleet_scope():
        assert UsageQuarantine.objects.get().decision_id is None
    assert outcomes(QuarantineDecision.objects.get()) == [""]


def test_of_many_those_that_still_cannot_be_taken_go_on_waiting(acme, gateway, fin, vic):
    late = put_aside(gateway, usage(acme, at=NOW - timedelta(days=70)))
    unknown = put_aside(gateway, usage(acme, tenant_id=999_999))
    decision = decide(vic, question(fin, Kind.TAKE, late, unknown))
    assert outcomes(decision) == ["taken", "kept"]
    with fleet_scope():
        assert UsageQuarantine.objects.get().pk == unknown.pk
        assert "no tenant 999999" in QuarantineItem.objects.get(outcome="kept").said


def test_a_correction_is_an_edited_copy_that_is_kept_beside_the_original(acme, gateway, fin, vic):
    data = usage(acme, cached_tokens=500)
    row = put_aside(gateway, data)
    decision = decide(vic, correction(fin, row, data | {"cached_tokens": 50}))
    with fleet_scope():
        assert UsageEvent.objects.get().cached_tokens == 50
        item = decision.items.get()
        assert item.outcome == "taken"
        assert json.loads(item.payload)["data"]["cached_tokens"] == 500
        assert bytes(item.payload_sha) == bytes(row.payload_sha)
        assert bytes(item.corrected_sha) == hashlib.sha256(item.corrected.encode()).digest()
    again = ingest(gateway, batch(data), now=NOW)
    assert again.accepted == 0, "the original is never billed beside its correction"


@pytest.mark.parametrize(
    ("changes_of", "said"),
    [
        ({"cached_tokens": 400}, "more than data.prompt_tokens"),
        ({"cached_tokens": 0, "tenant_id": 999_999}, "no tenant 999999"),
        ({"cached_tokens": 0, "completion_tokens": -1}, "out of range"),
    ],
)
def test_the_rules_of_the_door_hold_for_a_correction(acme, gateway, fin, changes_of, said):
    data = usage(acme, cached_tokens=500)
    row = put_aside(gateway, data)
    with pytest.raises(Invalid, match=said):
        correction(fin, row, data | changes_of)


def test_a_correction_keeps_its_id_and_changes_something(acme, gateway, fin):
    data = usage(acme, cached_tokens=500)
    row = put_aside(gateway, data)
    other = usage(acme)
    with pytest.raises(Invalid, match="The id stays"):
        correction(fin, row, other)
    with scope_of(fin), pytest.raises(Invalid, match="Nothing was changed"):
        ask_to_correct(fin, row.pk, corrected=row.payload, why="x", now=NOW)


def test_an_event_that_was_cut_says_so_and_is_corrected_in_whole(acme, gateway, fin, vic):
    data = usage(acme, cached_tokens=500, pod="p" * 20_000)
    row = put_aside(gateway, data)
    with pytest.raises(Conflict, match="cut when it was kept"):
        question(fin, Kind.TAKE, row)
    decide(vic, correction(fin, row, data | {"cached_tokens": 5, "pod": "p"}))
    with fleet_scope():
        assert UsageEvent.objects.get().pod == "p"


def test_it_asks_who_and_why(acme, gateway, fin, fiona, olga):
    row = put_aside(gateway, usage(acme, tenant_id=999_999))
    with pytest.raises(Invalid):
        question(fin, Kind.DROP, row, why=" ")
    for who in (olga, fiona):  # she may not; a machine has nobody to ask
        with pytest.raises(Forbidden):
            question(who, Kind.DROP, row)


def test_the_api_asks_and_shows_what_was_decided(acme, gateway, vic, stranger):
    door = Door(make_token("fran", "finance"))
    rows = [put_aside(gateway, usage(acme, tenant_id=999_999)) for _ in range(3)]
    put_aside(gateway, usage(acme, cached_tokens=500))
    found = door.get("usage/quarantine?reason=unknown_tenant&source=gateway")["results"]
    assert sorted(r["id"] for r in found) == [r.pk for r in rows]
    one = door("post", f"usage/quarantine/{rows[0].pk}/drop", {"why": "a test"})
    assert (one.status_code, one.json()["state"]) == (201, "waiting")
    ids = [r.pk for r in rows[1:]]
    many = door(
        "post", "usage/quarantine/decisions", {"decision": "drop", "ids": ids, "why": "a test"}
    )
    assert (many.status_code, many.json()["events"]) == (201, 2)
    decide_all(vic)
    assert door.get("usage/quarantine?reason=unknown_tenant")["results"] == []
    done = door.get("usage/quarantine/decisions?state=done")["results"]
    assert [d["events"] for d in done] == [2, 1]
    items = door.get(f"usage/quarantine/decisions/{done[0]['id']}/items")["results"]
    assert [i["outcome"] for i in items] == ["dropped", "dropped"]
    for path in ("decisions", f"decisions/{done[0]['id']}", f"decisions/{done[0]['id']}/items"):
        assert stranger("get", f"usage/quarantine/{path}").status_code == 404


def decide_all(vic):
    with fleet_scope():
        for change in ChangeRequest.objects.all():
            changes.decide(vic, change.pk, digest=change.digest, approve=True, why="seen")
    apply_decisions(NOW)
