"""The table of steps of a rollout, and room for more among its page's queries."""

import re
from types import SimpleNamespace

import pytest
from django.test import Client

from tests.browser.registry import PAGES
from tests.console.test_routes import asked

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(scene: SimpleNamespace, client: Client) -> Client:
    client.force_login(scene.olga)
    return client


def test_the_page_shows_each_step_planned_and_as_it_was(olga: Client, scene: SimpleNamespace):
    page = olga.get(PAGES["rollout"](scene)).content.decode()
    table = page[page.index('id="steps"') :]
    rows = table[: table.index("</table>")].split("<tr")[2:]
    told = [" ".join(re.sub(r"<[^>]+>", " ", f"<tr{row}").split()) for row in rows]
    assert told[0] == "First replicas nobody yet 1 2 – – Next –"
    assert told[1] == "5 % everybody 1 2 1 min 100 Gate skipped –"
    assert re.match(r"25 % everybody 1 was 0 2 was 2 1 min 100 got 1,412 Now \d", told[2]), told[2]
    assert told[-2:] == [
        "100 % everybody 2 1 – – Next –", "Soak everybody 2 1 30 min – Next –",
    ]  # fmt: skip
    assert "r2 1, r1 2" in page  # the next step, in the line of dots


def test_the_api_gives_the_same_table(olga: Client, scene: SimpleNamespace):
    steps = olga.get(f"/api/v1/rollouts/{scene.rollouts['analyzing'].pk}").json()["steps"]
    assert [s["title"] for s in steps] == ["First replicas", "5 %", "25 %", "50 %", "100 %", "Soak"]
    assert (steps[2]["state"], steps[2]["new"], steps[2]["old"]) == ("now", 1, 2)


@pytest.mark.parametrize(("name", "most"), [("rollout", 29), ("rollout_new", 29), ("overview", 29)])
def test_pages_have_room_for_a_query_more(name, most, olga: Client, scene: SimpleNamespace):
    assert len(asked(olga, PAGES[name](scene))) <= most
