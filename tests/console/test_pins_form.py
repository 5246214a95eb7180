"""The form of a release takes pins as lines, and gives them to the next release."""

from html import unescape
from types import SimpleNamespace

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from console.forms.pins import read_files, written_files
from fleet.models import Service
from fleet.rules.pins import pins_from
from tenants.base.scope import fleet_scope
from tests.console.test_fleet_pages import release_form

pytestmark = pytest.mark.django_db
FILES = "--- templates/chat.jinja\n{{ messages }}\n"
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_the_form_takes_pins_and_gives_them_to_the_next_release(
    scene: SimpleNamespace, client: Client
):
    client.force_login(scene.olga)
    typed = release_form(
        scene, arguments="--enable-lora", configs=f"prompts@{A}", secrets=f"hub@{B}",
        adapters=f"polite=/adapters/polite@{A}", files=FILES,
    )  # fmt: skip
    made = client.post("/new/release/", typed)
    assert made.status_code == 302, made.content.decode()
    page = client.get(made["Location"]).content.decode()
    for words in (
        "/etc/config/templates/chat.jinja",
        "Made outside: pods wait",
        "File prompts",
        "Secret hub",
        "Adapter polite",
        "chat-small, polite",
    ):
        assert words in page
    copy = client.get(f"/new/release/?copy={made['Location'].strip('/').split('/')[-1]}")
    assert f"polite=/adapters/polite@{A}" in copy.content.decode()
    assert FILES in unescape(copy.content.decode())


WRONG_FILES = {
    "no beginning": ("{{ messages }}", "Begin with a line --- NAME/FILE"),
    "no file": ("--- templates\n", "is not --- NAME/FILE"),
    "twice": ("--- a/b\n--- a/b\n", "a/b is given twice"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_it_says_how_files_are_written(case):
    text, words = WRONG_FILES[case]
    with pytest.raises(ValidationError, match=words):
        read_files(text)


def test_files_are_read_as_they_were_written():
    files = {"a": {"x": "1\n\n", "y": ""}, "b": {"z": " --- no header\n"}}
    assert read_files(written_files(pins_from({"files": files}))) == files | {
        "a": {"x": "1\n\n", "y": "\n"}
    }


def test_the_form_keeps_what_was_typed_and_says_what_is_wrong(
    scene: SimpleNamespace, client: Client
):
    client.force_login(scene.olga)
    answer = client.post(
        "/new/release/", release_form(scene, configs="prompts", adapters="polite", regions="mars")
    )
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "is not NAME@sha256:" in page
    assert "is not NAME=/path@sha256:" in page
    with fleet_scope():
        assert not Service.objects.filter(releases__note="a try").exists()
