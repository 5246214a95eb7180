"""Receivers whose address changes, has a query, is slow, or is nobody's business."""

import time
from datetime import timedelta

import pytest

from billing.actions.deliveries import change_destination
from billing.drive import deliveries
from billing.drive.deliveries import deliver_due
from billing.drive.exports import run_due
from billing.queries.events import list_events
from billing.rules.destinations import Target
from tenants.base.scope import scope_of
from tests.billing import factories
from tests.billing.factories import NOW, load, make_prices, usage
from tests.billing.test_deliveries import ask, history, receiver_of, sent

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _charged(acme, gateway, settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"
    settings.QM_ALLOW_PRIVATE_DELIVERY = True
    make_prices()
    load(gateway, usage(acme))


def parts(door, path):
    return [c.headers["x-export-part"] for c in door.came if c.path == path]


def test_a_receiver_that_moves_in_between_gets_the_file_and_the_manifest(fiona, door):
    job, _ = sent(fiona, door)
    door.answers = [(204, {}), (503, {})]
    assert deliver_due(NOW) == 0
    with scope_of(fiona):
        moved = Target("Ledger", door.url + "/moved")
        change_destination(fiona, job.destination_id, moved, expected=1)
    assert deliver_due(LATER) == 1
    assert parts(door, "/in") == ["file", "manifest"]
    assert parts(door, "/in/moved") == ["file", "manifest"]
    assert history(fiona, job)[0].state == "delivered"


def test_another_name_of_the_receiver_sends_no_part_twice(fiona, door):
    job, _ = sent(fiona, door)
    door.answers = [(204, {}), (503, {})]
    deliver_due(NOW)
    with scope_of(fiona):
        change_destination(fiona, job.destination_id, Target("Books", door.url), expected=1)
    assert deliver_due(LATER) == 1
    assert parts(door, "/in") == ["file", "manifest", "manifest"]


@pytest.mark.parametrize(
    ("end", "query"), [("?sv=1&sig=a%2Fb%3D", "?sv=1&sig=a%2Fb%3D"), ("#x", "")]
)
def test_put_adds_the_name_to_the_path_and_keeps_the_query(fiona, door, end, query):
    sent(fiona, door, method="PUT", url=door.url + "/" + end)
    assert deliver_due(NOW) == 1
    paths = [c.path for c in door.came]
    assert len(set(paths)) == 2, "the manifest did not take the place of the file"
    for path, ending in zip(paths, (".csv", ".csv.manifest.json"), strict=True):
        assert path.startswith("/in/fleet-2026")
        assert path.endswith(ending + query)


def test_each_message_is_signed_at_the_time_at_which_it_leaves(fiona, door, monkeypatch):
    """A receiver takes no message that is some minutes old, and a file may take minutes."""
    sent(fiona, door)
    real = deliveries.send

    def slow(message, **given):
        answer = real(message, **given)
        time.sleep(1.1)
        return answer

    monkeypatch.setattr(deliveries, "send", slow)
    assert deliver_due(NOW) == 1
    file, manifest = (int(c.headers["webhook-timestamp"]) for c in door.came)
    assert int(NOW.timestamp()) <= file < manifest


@pytest.mark.parametrize("status", [204, 410])
def test_the_operators_receiver_is_named_to_no_tenant(fiona, acme, door, status):
    own = factories.viewer("finance", acme)
    destination, _ = receiver_of(fiona, door, name="Internal warehouse")
    ask(fiona, destination, tenant_id=acme.pk)
    run_due(NOW)
    door.answers = [(status, {})]
    deliver_due(NOW)
    with scope_of(own):
        told = " ".join(e.subject + e.payload for e in list_events(own))
    assert "export.published" in told
    assert "Internal warehouse" not in told
    with scope_of(fiona):
        assert any("Internal warehouse" in e.payload for e in list_events(fiona))


def test_a_manifest_that_says_something_else_is_not_sent(fiona, door, settings):
    job, _ = sent(fiona, door)
    (manifest,) = settings.QM_EXPORTS_DIR.rglob("*.manifest.json")
    manifest.write_text(manifest.read_text().replace('"rows": 3', '"rows": 2'))
    deliver_due(NOW)
    delivery, tries = history(fiona, job)
    assert (delivery.state, tries, door.came) == ("failed", [], [])
    assert "not the one that was recorded" in delivery.why
