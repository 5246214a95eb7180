"""Pages of other costs: import a file, see its lines, and see them in the fleet's bill."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from billing.rules.other_costs import COLUMNS
from tests.console.test_money_pages import browser

pytestmark = pytest.mark.django_db
PAGE = "/economics/other/"
ROW = "2026-01-01,2030-01-01,platform,People on call,,USD,36500"


def send(client, text):
    file = SimpleUploadedFile("costs.csv", text.encode())
    return client.post(f"{PAGE}import/", {"csv": file}, follow=True)


def test_it_imports_a_file_and_shows_it_in_the_bill(scene):
    olga = browser(scene.olga)
    before = olga.get("/economics/?from=now-3d").context["found"]
    text = f"{','.join(COLUMNS)}\n{ROW}\n"
    assert b"Lines: 1 new, 0 there already" in send(olga, text).content
    assert b"Lines: 0 new, 1 there already" in send(olga, text).content
    assert b"People on call" in olga.get(PAGE).content
    assert b"36500.000000000000" in olga.get(f"{PAGE}?format=csv").content
    answer = olga.get("/economics/?from=now-3d")
    found = answer.context["found"]
    assert b"Shared platform" in answer.content and b"Besides GPUs" in answer.content
    added = found.other.platform - before.other.platform
    assert added > 0
    assert found.whole - added == before.whole
    assert sum(m.other for m in found.tenants) + found.other.unallocated == found.other.whole


def test_it_says_what_is_wrong_with_a_file(scene):
    answer = send(browser(scene.olga), f"{','.join(COLUMNS)}\n{ROW.replace('USD', 'XAU')}\n")
    assert answer.status_code == 422
    assert "Line 2: &#x27;XAU&#x27; is no currency" in answer.content.decode()


def test_only_those_who_keep_the_books_import(scene):
    assert browser(scene.watcher).get(f"{PAGE}import/").status_code == 403
    assert browser(scene.mallory).get(PAGE).status_code in (403, 404)
