"""The form of a release takes pins as lines, and gives them to the next release."""

from types import SimpleNamespace

import pytest
from django.test import Client

from fleet.models import Service
from tenants.base.scope import fleet_scope
from tests.console.test_fleet_pages import release_form

pytestmark = pytest.mark.django_db
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_the_form_takes_pins_and_gives_them_to_the_next_release(
    scene: SimpleNamespace, client: Client
):
    client.force_login(scene.olga)
    typed = release_form(
        scene, arguments="--enable-lora", configs=f"prompts@{A}", secrets=f"hub@{B}",
        adapters=f"polite=/adapters/polite@{A}",
    )  # fmt: skip
    made = client.post("/new/release/", typed)
    assert made.status_code == 302, made.content.decode()
    page = client.get(made["Location"]).content.decode()
    for words in ("File prompts", "Secret hub", "Adapter polite", "chat-small, polite"):
        assert words in page
    copy = client.get(f"/new/release/?copy={made['Location'].strip('/').split('/')[-1]}")
    assert f"polite=/adapters/polite@{A}" in copy.content.decode()


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
