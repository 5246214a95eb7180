"""Copies for shadows of rollouts at the ingest door: counted for gates, in no sum of usage."""

import json
from datetime import timedelta

import pytest
from django.db.models import Sum

from billing.actions.ingest import ingest
from billing.models import HourMark, UsageEvent
from fleet.models import ShadowLatencySlot, ShadowSlot, TrafficSlot
from tenants.base.scope import fleet_scope
from tests.billing.factories import NOW, cloud, usage

pytestmark = pytest.mark.django_db
COPY = "quartermaster.shadow.v1"


def sent(*data):
    return json.dumps([cloud(d, type=COPY) for d in data]).encode()


def summed(model):
    with fleet_scope():
        rows = model.objects.filter(seconds=10)
        return rows.aggregate(r=Sum("requests"), p=Sum("prompt_tokens"))


def test_a_copy_is_counted_once_and_is_no_usage(acme, gateway):
    copies = sent(*(usage(acme, release_id=9) for _ in range(3)))
    assert ingest(gateway, copies, now=NOW).accepted == 3
    again = ingest(gateway, copies, now=NOW)
    assert (again.accepted, again.duplicates, again.quarantined) == (0, 3, ())
    assert summed(ShadowSlot) == {"r": 3, "p": 300}
    with fleet_scope():
        assert ShadowLatencySlot.objects.filter(metric="ttft", seconds=10).get().samples == 3
        for model in (UsageEvent, HourMark, TrafficSlot):
            assert not model.objects.exists(), model


def test_requests_and_copies_come_in_one_batch(acme, gateway):
    request, copy = usage(acme), usage(acme, release_id=9)
    body = json.dumps([cloud(request), cloud(copy, type=COPY)]).encode()
    assert ingest(gateway, body, now=NOW).accepted == 2
    with fleet_scope():
        assert str(UsageEvent.objects.get().request_id) == request["request_id"]
    assert (summed(TrafficSlot)["r"], summed(ShadowSlot)["r"]) == (1, 1)


def test_an_id_cannot_be_a_copy_first_and_a_request_later(acme, gateway):
    data = usage(acme)
    ingest(gateway, sent(data), now=NOW)
    receipt = ingest(gateway, json.dumps([cloud(data)]).encode(), now=NOW)
    assert [r.reason for r in receipt.quarantined] == ["conflict"]
    with fleet_scope():
        assert not UsageEvent.objects.exists()


BAD = {
    "of nobody": ({"tenant_id": 999}, "unknown_tenant"),
    "from the future": ({"finished_at": round((NOW + timedelta(days=1)).timestamp() * 1e6)},
                        "future"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_copy_is_judged_like_a_request(acme, gateway, case):
    changes, reason = BAD[case]
    receipt = ingest(gateway, sent(usage(acme) | changes), now=NOW)
    assert [r.reason for r in receipt.quarantined] == [reason]
    assert summed(ShadowSlot)["r"] is None
