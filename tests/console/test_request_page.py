"""One request: where its time went."""

from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.test import Client

from console.views.requests import parts_of
from tenants.base.scope import fleet_scope
from tests.console.test_fleet_pages import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(scene: SimpleNamespace) -> Client:
    return signed_in(scene.olga)


def row(**changes) -> SimpleNamespace:
    return SimpleNamespace(**{"queue_ms": 20.0, "ttft_ms": 5120.0, "total_ms": 6000.0} | changes)


def test_what_a_service_needed_to_wake_is_a_part_of_its_own():
    parts = parts_of(row(), 5000.0)
    assert [(p.name, p.ms) for p in parts] == [
        ("Waited while the service woke", 5000.0),
        ("Waited in the gateway", 20.0),
        ("To the first token", 100.0),
        ("The rest of the answer", 880.0),
    ]
    assert [p.ms for p in parts_of(row(ttft_ms=None, total_ms=5020.0), 5000.0)] == [5000, 20, 0, 0]
    assert [p.name for p in parts_of(row(), 0.0)][0] == "Waited in the gateway"


def test_it_is_read_from_what_the_gateway_reported(olga: Client, scene: SimpleNamespace):
    address = f"/requests/{scene.request.request_id}/"
    assert "Waited while the service woke" not in olga.get(address).content.decode()
    event = scene.request
    event.pk, event.request_id, event.modifiers = None, uuid4(), ["waking:40"]
    with fleet_scope():
        event.save(force_insert=True)
    page = olga.get(f"/requests/{event.request_id}/").content.decode()
    assert "Waited while the service woke" in page
