"""The pages of a release of prefill and decode: its form, its page, its plan."""

from types import SimpleNamespace

import pytest
from django.test import Client

from fleet.models import Release
from tenants.base.scope import fleet_scope
from tests.console.test_fleet_pages import olga, release_form

__all__ = ["olga"]

pytestmark = pytest.mark.django_db
NIXL = '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_both"}'
ROLES = "prefill 1, --max-num-seqs=8\ndecode 2, 1 GPU"


def group_form(scene: SimpleNamespace, **changes) -> dict[str, object]:
    return release_form(scene, arguments=NIXL, roles=ROLES) | changes


def made() -> Release:
    with fleet_scope():
        return Release.objects.get(note="a try")


def test_the_form_takes_a_line_for_each_role(olga: Client, scene: SimpleNamespace):
    answer = olga.post("/new/release/", group_form(scene))
    assert answer["Location"] == f"/releases/{made().pk}/"
    assert [(r["name"], r["replicas"], r["arguments"]) for r in made().roles] == [
        ("prefill", 1, ["--max-num-seqs=8"]), ("decode", 2, []),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("roles", "want"),
    [
        ("decode 2", "decode without prefill answers nothing"),
        ("prefill one", "is not like: prefill 1, 2 GPUs"),
        ("prefill 1\ndecode 2, many", "neither a number of GPUs nor an argument"),
    ],
)
def test_it_keeps_roles_that_were_refused(olga: Client, scene: SimpleNamespace, roles, want):
    answer = olga.post("/new/release/", group_form(scene, roles=roles))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert want in page
    assert roles.replace("\n", "\r\n") in page or roles in page


def test_the_form_takes_the_lease_of_kv_blocks(olga: Client, scene: SimpleNamespace):
    refused = olga.post("/new/release/", group_form(scene, kv_lease_seconds=5))
    assert refused.status_code == 422
    assert "kv_lease_seconds 5: between 30 and 600" in refused.content.decode()
    assert olga.post("/new/release/", group_form(scene, kv_lease_seconds=90)).status_code == 302
    assert made().probes["kv_lease_seconds"] == 90
    page = olga.get(f"/releases/{made().pk}/").content.decode()
    assert "90 s from the end of traffic until prefill goes" in page.replace("1 min 30 s", "90 s")
    copy = olga.get(f"/new/release/?copy={made().pk}").content.decode()
    assert 'name="kv_lease_seconds" value="90"' in copy


def test_its_page_shows_what_a_replica_is_made_of(olga: Client, scene: SimpleNamespace):
    olga.post("/new/release/", group_form(scene))
    page = olga.get(f"/releases/{made().pk}/").content.decode()
    assert "1 × 1 h200-sxm: reads prompts and hands their KV blocks over" in page
    assert "2 × 1 h200-sxm: takes the blocks and writes the answers" in page
    assert "KV domain" in page and made().fingerprint in page


def test_a_copy_begins_with_its_roles(olga: Client, scene: SimpleNamespace):
    olga.post("/new/release/", group_form(scene))
    page = olga.get(f"/new/release/?copy={made().pk}").content.decode()
    assert "prefill 1, --max-num-seqs=8" in page
    assert "decode 2, 1 GPU" in page


def test_its_plan_says_what_moves_together(olga: Client, scene: SimpleNamespace):
    olga.post("/new/release/", group_form(scene))
    page = olga.get(f"/new/rollout/?release={made().pk}").content.decode()
    assert "each 1 prefill and 2 decode" in page
    assert "move and return as one" in page


def test_roles_on_two_gpu_products_are_told_apart(olga: Client, scene: SimpleNamespace):
    olga.post("/new/release/", group_form(scene, roles="prefill 1\ndecode 2, 1 GPU of l40s"))
    page = olga.get(f"/releases/{made().pk}/").content.decode()
    assert "2 × 1 l40s: takes the blocks" in page
    assert "1 h200-sxm<br>2 l40s" in page
    page = olga.get(f"/new/release/?copy={made().pk}").content.decode()
    assert "decode 2, 1 GPU of l40s" in page
    page = olga.get(f"/new/rollout/?release={made().pk}").content.decode()
    assert "2 × 1 h200-sxm and 2 l40s, each 1 prefill of 1 h200-sxm and 2 decode of 1 l40s" in page
    assert "<b>4</b> l40s<small>" in page


def test_the_form_takes_an_engine_over_several_nodes(olga: Client, scene: SimpleNamespace):
    given = release_form(scene, arguments="--tensor-parallel-size=2", gpus=1, group_size=2)
    answer = olga.post("/new/release/", given)
    assert answer.status_code == 302, answer.content.decode()[-3000:]
    assert made().resources["group_size"] == 2
    page = olga.get(f"/releases/{made().pk}/").content.decode()
    assert "2 pods, a node each: a leader, which answers, and its workers" in page
    copy = olga.get(f"/new/release/?copy={made().pk}").content.decode()
    assert 'name="group_size" value="2"' in copy
