"""Whatever is typed into a form or an address, a page answers what is wrong, and never fails.

Each field of each form gets values that it did not ask for, one at a time, the others as the page
offers them; the same for each parameter that a page's own links and filters use. What a form
changed is taken back before the next one. QM_FUZZ_EXAMPLES sends more of them.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import chain, cycle, islice
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from tests.browser.registry import PAGES
from tests.console.drill_scene import furnish_drill
from tests.console.sequence_scene import furnish_sequence

pytestmark = pytest.mark.django_db
CHOSEN = ("checkbox", "radio")
EXAMPLES = int(os.environ.get("QM_FUZZ_EXAMPLES", "1"))
ODD = (
    "", "-1", "0", "1e999", "NaN", "99999999999999999999999", "0.0000000000001", "x" * 70_000, "\0",
    "é\u202e💥", "2026-13-45", "0001-01-01", "9999-12-31T23:59", "now-999999999d", "[]", '{"a": 1}',
    "'\"><b>", "../../etc/passwd", "a,b,,", "\n\n", "١٢٣", "- a: [", "Infinity",
)  # fmt: skip


@dataclass
class Form:
    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(n for n, _ in self.fields if n != "csrfmiddlewaretoken"))

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        return self.method, urlsplit(self.action).path, tuple(sorted(self.names))


class Forms(HTMLParser):
    """The forms of a page, with the values that it offers, and the addresses of its links."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self._form = Form("", "get")
        self._name = ""  # of the select or the text that is open
        self._chosen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(given.get("href", ""))
        elif tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
        elif tag in ("select", "textarea"):
            self._name, self._chosen = given.get("name", ""), []
        elif tag == "option" and ("selected" in given or not self._chosen):
            self._chosen = [given.get("value", "")]
        elif tag == "input" and (given.get("type") not in CHOSEN or "checked" in given):
            self._offer(given.get("name", ""), given.get("value", "on"))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "textarea":
            self._chosen.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("select", "textarea"):
            self._offer(self._name, "".join(self._chosen))

    def _offer(self, name: str, value: str) -> None:
        if name:
            self._form.fields.append((name, value))


@pytest.fixture
def scene(scene: SimpleNamespace) -> SimpleNamespace:
    now = timezone.now()
    return furnish_drill(furnish_sequence(scene, now), now)


def test_no_page_fails_by_what_is_typed(scene: SimpleNamespace):
    client = Client(raise_request_exception=False, headers={"host": "127.0.0.1"})
    client.force_login(scene.olga)
    odd, tried, failed = cycle(ODD), set(), []
    for make in PAGES.values():
        for door in doors(client, make(scene)):
            if door.key in tried:
                continue
            tried.add(door.key)
            for name in door.names:
                for value in islice(odd, EXAMPLES):
                    if send(client, door, name, value) >= 500:
                        failed.append((door.method, door.action, name, value[:30]))
    assert len(tried) > len(PAGES)
    assert failed == []


def doors(client: Client, address: str) -> Iterator[Form]:
    """Of one page: its forms, and the page itself with the parameters that its links have."""
    page = Forms()
    page.feed(client.get(address).content.decode())
    for form in page.forms:
        form.action = urljoin(address, form.action)
        yield form
    path = urlsplit(address).path
    links = [urlsplit(urljoin(address, link)) for link in (address, *page.links)]
    parameters = [parse_qsl(link.query) for link in links if link.path == path]
    yield Form(path, "get", list(dict(chain.from_iterable(parameters)).items()))


def send(client: Client, door: Form, name: str, value: str) -> int:
    """The status of the answer; what was changed is taken back."""
    sent = urlencode([*((n, v) for n, v in door.fields if n != name), (name, value)])
    savepoint = transaction.savepoint()
    if door.method == "post":
        answer = client.post(door.action, sent, content_type="application/x-www-form-urlencoded")
    else:
        answer = client.get(f"{urlsplit(door.action).path}?{sent}")
    transaction.savepoint_rollback(savepoint)
    return answer.status_code
