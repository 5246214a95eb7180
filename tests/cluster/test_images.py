"""The image table: which references resolve, and to what command line."""

import json

import pytest

from sandbox.cluster.images import Image, ImageTable, InvalidImage, PullError, write_table
from sandbox.engines.images import CATALOGUE, UNKNOWN_REFERENCE, table_entries

DIGEST = "sha256:" + "a" * 64
GOOD = f"registry.local/engine@{DIGEST}"


@pytest.fixture
def table(tmp_path):
    spec = {"command": ["run"], "tag": "1.0", "paths": {"/models/tiny": "/real"}}
    write_table(tmp_path / "images.json", {"images": {GOOD: spec}})
    return ImageTable(tmp_path / "images.json")


@pytest.mark.parametrize(
    "reference", [GOOD, f"registry.local/engine:any@{DIGEST}", "registry.local/engine:1.0"]
)
def test_it_resolves_a_known_digest_or_tag(table: ImageTable, reference: str):
    assert table.resolve(reference).image_id == GOOD


@pytest.mark.parametrize(
    ("reference", "want"),
    [
        ("registry.local/engine@sha256:" + "b" * 64, "not found"),
        ("registry.local/engine:2.0", "not found"),
        ("registry.local/engine", "not found"),
        ("registry.local/other:1.0", "repository does not exist"),
    ],
)
def test_it_cannot_pull_what_it_does_not_have(table: ImageTable, reference: str, want: str):
    with pytest.raises(PullError, match=want):
        table.resolve(reference)


@pytest.mark.parametrize("reference", ["", " ", "a b", "x@sha256:12"])
def test_it_refuses_a_reference_that_does_not_parse(table: ImageTable, reference: str):
    with pytest.raises(InvalidImage):
        table.resolve(reference)


@pytest.mark.parametrize("denied", [DIGEST, GOOD])
def test_it_denies_and_allows_and_remembers_it_in_the_file(table: ImageTable, denied: str):
    table.set_denied(denied, denied=True)
    with pytest.raises(PullError, match="not found"):
        ImageTable(table.path).resolve(GOOD)
    table.set_denied(denied, denied=False)
    assert ImageTable(table.path).resolve(GOOD)


def test_it_reads_the_file_again_when_it_changes(table: ImageTable):
    raw = json.loads(table.path.read_text())
    raw["images"][UNKNOWN_REFERENCE] = {"command": ["new"]}
    write_table(table.path, raw)
    assert table.resolve(UNKNOWN_REFERENCE).image.command == ["new"]


def test_it_puts_the_image_around_the_arguments_of_the_pod():
    made = Image(["{python}", "-m", "x"], ["--host", "{pod_ip}"], paths={"/models/tiny": "/real"})
    argv = made.argv(["/models/tiny", "--tokenizer=/models/tiny/t", "/models/tinyer"], "127.1.2.3")
    assert argv[1:] == [
        *("-m", "x", "/real", "--tokenizer=/real/t", "/models/tinyer"),
        *("--host", "127.1.2.3"),
    ]


def test_it_has_a_catalogue_of_distinct_references():
    references = [i.reference for i in CATALOGUE.values()]
    assert len(set(references)) == len(references)
    assert UNKNOWN_REFERENCE not in references
    assert {i.name for i in CATALOGUE.values() if i.faulty} == {
        f"faulty-{kind}"
        for kind in (
            *("crash", "oom", "never-ready", "slow", "errors", "truncated"),
            *("wrong-answer", "wrong-fingerprint", "wrong-cache", "breaks-contract", "worker"),
        )
    }


def test_it_writes_table_entries_that_the_table_reads(tmp_path):
    write_table(tmp_path / "images.json", {"images": table_entries()})
    found = ImageTable(tmp_path / "images.json")
    assert found.resolve(CATALOGUE["faulty-oom"].reference).image.dies_of == "OOMKilled"
