"""A page never runs with the script of the version before."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.templatetags.static import static
from django.test import Client

from console import static_files


def test_an_address_changes_with_what_is_in_the_file(tmp_path: Path, monkeypatch):
    file = tmp_path / "app.js"
    monkeypatch.setattr(static_files.finders, "find", lambda _: str(file))
    seen = set()
    for text in ("old", "new"):
        file.write_text(text)
        static_files.digest_of.cache_clear()
        seen.add(static("app.js"))
    static_files.digest_of.cache_clear()
    assert len(seen) == 2


def test_what_is_not_there_has_no_version():
    assert static("no-such.js") == "/static/no-such.js"


@pytest.mark.django_db
def test_every_file_that_a_page_names_is_there_under_its_address():
    page = Client().get("/account/login/").content.decode()
    addresses = set(re.findall(r'"(/static/[^"#]+)', page))
    assert {a.partition("?")[0].rpartition("/")[2] for a in addresses} >= {"app.js", "app.css"}
    for address in addresses:
        assert re.fullmatch(r"/static/[\w./-]+\?v=[0-9a-f]{12}", address)
        answer = Client().get(address)
        assert answer.status_code == 200
        path = address.partition("?")[0].removeprefix("/static/")
        assert answer.getvalue() == (settings.BASE_DIR / "static" / path).read_bytes()
