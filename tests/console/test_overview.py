"""The first page: what needs a person, from all parts of the house, and the set-up's progress."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.test import Client
from django.utils import timezone

from billing.queries.commitments import Ending
from billing.rules.commitments import days_left
from console.attention import budget_lines, commitment_line, gateway_lines
from console.progress import parse, read_progress
from fleet.models import Cluster, Rollout
from fleet.queries.gateways import Gateways, WorkerRow
from fleet.queries.overview import Urgency
from tenants.base.scope import fleet_scope
from tenants.queries.directory import TenantRef

NOW = timezone.now()
DOCUMENT = {
    "state": "building", "stage": "Cluster", "percent": 61, "why": None, "at": NOW.timestamp(),
    "operator": {"email": "olga@example.test", "password": "never shown"},
    "stages": [
        {"name": "stores", "label": "PostgreSQL", "state": "done", "percent": 100, "text": "",
         "elapsed": 6.0},
        {"name": "cluster", "label": "Cluster", "state": "running", "percent": 40,
         "text": "9 of 14 nodes", "elapsed": 12.5},
    ],
}  # fmt: skip


def lines(client: Client, user) -> str:
    client.force_login(user)
    answer = client.get("/")
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


def test_it_names_what_hurts_what_will_and_what_waits(client: Client, scene: SimpleNamespace):
    text = lines(client, scene.olga)
    for sentence in (
        "chat-small: requests are shed, interactive",
        "2,131 of 38,420 requests shed",
        "Cluster fra-1 is out of sight",
        "connection refused",
        "Node ams-1/l40s-05 is out of service",
        "code-large: r1 to r2 waits for approval",
        "embed r3 is paused",
    ):
        assert sentence in text
    assert "embed r2 was rolled back" not in text  # a newer rollout is on its way


def test_it_goes_on_naming_a_rolled_back_rollout_until_another_one(
    client: Client, scene: SimpleNamespace
):
    with fleet_scope():
        Rollout.objects.filter(pk=scene.rollouts["paused"].pk).update(service=scene.services[0])
    assert "embed r2 was rolled back" in lines(client, scene.olga)


def test_it_leads_from_each_line_to_a_page_that_opens(client: Client, scene: SimpleNamespace):
    client.force_login(scene.olga)
    page = client.get("/").content.decode()
    links = set(re.findall(r'class="btn btn-s go" href="([^"]+)"', page))
    assert len(links) >= 6
    for link in links:
        answer = client.get(link.replace("&amp;", "&"))
        assert (link, answer.status_code) == (link, 200)


def test_it_shows_a_tenants_people_only_their_own(client: Client, scene: SimpleNamespace):
    text = lines(client, scene.mallory)  # of initech
    assert "globex" not in text
    assert "fra-1" not in text
    assert "code-large" not in text


def test_it_never_calls_an_unseen_service_healthy(client: Client, scene: SimpleNamespace):
    with fleet_scope():
        Cluster.objects.update(observed_at=timezone.now() - timedelta(minutes=5))
    assert re.search(r"0 of 4 healthy", lines(client, scene.olga))


def test_it_warns_before_a_budget_ends():
    limits = {1: Decimal(2000), 2: Decimal(2000)}
    spent = {1: Decimal(1766), 2: Decimal(2100)}
    tenants = {
        pk: TenantRef(pk, slug, slug, "USD", "UTC", demo=False)
        for pk, slug in ((1, "acme"), (2, "globex"))
    }
    found = budget_lines(limits, spent, tenants)
    assert [(line.urgency, line.title) for line in found] == [
        (Urgency.NOW, "globex's budget is used up"),
        (Urgency.SOON, "acme's budget ends"),
    ]
    assert "$1,766.00 of $2,000.00 used (88.3 %)" in found[1].why


def test_it_names_minima_that_end(client: Client, scene: SimpleNamespace):
    text = lines(client, scene.olga)
    assert "globex's minimum ends in 20 days" in text
    assert re.search(r"\$[\d.]+ a month; what is unused of the last one is charged", text)
    assert "globex's minimum" not in lines(client, scene.mallory)  # of initech


def test_a_tenants_own_finance_sees_its_minimum_end(client: Client, scene: SimpleNamespace):
    with fleet_scope():
        scene.mallory.bindings.create(role="finance", tenant=scene.tenants[1])
    text = lines(client, scene.mallory)
    assert "globex's minimum ends in 20 days" in text
    client.force_login(scene.mallory)
    assert client.get("/prices/commitments/?tenant=globex").status_code == 200


@pytest.mark.parametrize(
    ("left", "want", "title"),
    [
        (timedelta(days=20), Urgency.PERSON, "acme's minimum ends in 20 days"),
        (timedelta(days=7), Urgency.SOON, "acme's minimum ends in 7 days"),
        (timedelta(hours=3), Urgency.SOON, "acme's minimum ends in 1 day"),
    ],
)
def test_a_minimum_that_ends_within_a_week_hurts_soon(left, want, title):
    tenant = TenantRef(1, "acme", "Acme", "USD", "UTC", demo=False)
    days = days_left(NOW + left, NOW)
    line = commitment_line(Ending(tenant, Decimal(100), "USD", NOW + left, days))
    assert (line.urgency, line.title) == (want, title)
    assert "$100.00 a month" in line.why


def worker(**changes) -> WorkerRow:
    usual = {
        "worker": "gw-1", "age_seconds": 1.0, "policy_version": 7, "routing_version": 9,
        "policy_behind": 0, "routing_behind": 0, "in_flight": 3, "spool_events": 0,
        "spool_oldest_seconds": 0.0, "flags": (), "requests_total": 10, "resident_bytes": 1,
        "pools": {},
    }  # fmt: skip
    return WorkerRow(**(usual | changes))


@pytest.mark.parametrize(
    ("gateways", "want"),
    [
        (Gateways(7, 9, (worker(),)), []),
        (Gateways(7, 9, (worker(routing_behind=2),)), ["has not applied the newest versions"]),
        (Gateways(7, 9, (worker(spool_events=40, spool_oldest_seconds=90.0),)), ["arrives late"]),
        (Gateways(7, 9, (), "Redis does not answer"), ["The quota store does not answer"]),
    ],
)
def test_it_says_what_gateways_lack(gateways: Gateways, want: list[str]):
    titles = [line.title for line in gateway_lines(gateways, NOW)]
    assert len(titles) == len(want)
    assert all(w in title for w, title in zip(want, titles, strict=True))


def test_it_shows_the_progress_of_the_set_up_without_its_credentials(
    client: Client, scene: SimpleNamespace, settings, tmp_path: Path
):
    settings.QM_UP_FILE = tmp_path / "up.json"
    settings.QM_UP_FILE.write_text(json.dumps(DOCUMENT))
    text = lines(client, scene.olga)
    assert "The sandbox is being built" in text
    assert "Cluster, 61 %" in text
    assert "never shown" not in text


def test_it_says_why_the_set_up_failed(
    client: Client, scene: SimpleNamespace, settings, tmp_path: Path
):
    settings.QM_UP_FILE = tmp_path / "up.json"
    document = DOCUMENT | {"state": "failed", "why": "Go is missing: install go 1.27"}
    settings.QM_UP_FILE.write_text(json.dumps(document))
    text = lines(client, scene.olga)
    assert "The set-up did not finish" in text
    assert "Go is missing: install go 1.27" in text


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"state": "odd", "at": 1}', "\x00"])
def test_it_does_without_a_progress_file_that_cannot_be_read(content: str, tmp_path: Path):
    path = tmp_path / "up.json"
    path.write_text(content)
    assert read_progress(path) is None
    assert read_progress(tmp_path / "absent.json") is None
    assert read_progress(None) is None


def test_it_knows_when_the_supervisor_is_silent():
    progress = parse(DOCUMENT)
    assert not progress.is_stale(progress.at + timedelta(seconds=5))
    assert progress.is_stale(progress.at + timedelta(seconds=31))
