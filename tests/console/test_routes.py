"""Each page that a GET opens is walked in the browser, and costs few queries."""

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, URLPattern, reverse
from django.utils import timezone

from console import accounts
from console.pages import urlpatterns
from tests.browser.registry import NO_PAGES, PAGES
from tests.console.drill_scene import furnish_drill
from tests.console.growth import grow
from tests.console.scene import PASSWORD
from tests.console.sequence_scene import furnish_sequence

MOST_QUERIES = 30
# Statements of the transaction and of the scope, which every page has and which touch no table.
FRAME = re.compile(
    r"SAVEPOINT|RELEASE|ROLLBACK|BEGIN|COMMIT|SELECT set_config|SELECT coalesce\(current_setting"
)
ROUTES = [p for p in urlpatterns if isinstance(p, URLPattern)]
pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(scene: SimpleNamespace) -> SimpleNamespace:
    now = timezone.now()
    return furnish_drill(furnish_sequence(scene, now), now)


@pytest.fixture
def olga(scene: SimpleNamespace, client: Client) -> Client:
    client.force_login(scene.olga)
    return client


def test_it_walks_every_page_in_the_browser(olga: Client):
    """A route that answers GET is in the registry, or is named there as no page."""
    unknown = [p for p in ROUTES if p.name not in PAGES and p.name not in NO_PAGES]
    assert [p.name for p in unknown if opens(olga, p)] == []


def opens(client: Client, pattern: URLPattern) -> bool:
    values = {
        name: 1 if type(converter).__name__ == "IntConverter" else "nothing"
        for name, converter in pattern.pattern.converters.items()
    }
    try:
        return client.get(reverse(pattern.name, kwargs=values)).status_code != 405
    except NoReverseMatch:
        return True  # an address with a form of its own: say in the registry how to make it


def test_it_asks_the_database_little_and_no_more_when_lists_grow(
    olga: Client, scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    """All pages in one test: to let the lists grow is dear, a page is cheap."""
    # Sessions are noted as seen once, not again in whichever page the minute ends.
    monkeypatch.setattr(accounts, "SEEN_EVERY", timedelta(days=1))
    few = {name: asked(olga, address(scene)) for name, address in PAGES.items()}
    grow(scene, timezone.now())
    many = {name: asked(olga, address(scene)) for name, address in PAGES.items()}
    assert {name: found for name, found in many.items() if len(found) > MOST_QUERIES} == {}
    assert {name: many[name] for name in PAGES if len(many[name]) > len(few[name])} == {}


def asked(client: Client, address: str) -> list[str]:
    client.get(address)  # what a first request makes and keeps
    with CaptureQueriesContext(connection) as seen:
        answer = client.get(address)
    assert answer.status_code == 200, address
    return [q["sql"][:150] for q in seen.captured_queries if not FRAME.match(q["sql"])]


def test_it_sends_strangers_to_the_sign_in_page(client: Client, scene: SimpleNamespace):
    for name, address in PAGES.items():
        answer = client.get(address(scene))
        assert (name, answer.status_code) == (name, 302)
        assert answer["Location"].startswith("/account/login/?next="), name


def test_it_signs_people_in_with_their_password(client: Client, scene: SimpleNamespace):
    form = {"login": scene.olga.email, "password": PASSWORD}
    assert client.post("/account/login/", form)["Location"] == "/"
    assert client.get("/").status_code == 200
