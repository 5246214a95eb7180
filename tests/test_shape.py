"""The shape of the code base: small files, small functions, a word from every package."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("console", "tenants", "fleet", "billing", "gateway", "sandbox")
FILES = [
    p.relative_to(ROOT)
    for app in APPS
    for p in (ROOT / app).rglob("*.py")
    if "migrations" not in p.parts
]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_file_is_small(path):
    assert len((ROOT / path).read_text().splitlines()) < 400


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_functions_are_small(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 50, f"{path}:{node.lineno} {node.name}"


@pytest.mark.parametrize("app", APPS)
def test_each_package_says_what_it_owns(app):
    text = ast.get_docstring(ast.parse((ROOT / app / "__init__.py").read_text())) or ""
    assert "Owns" in text
    assert "Start reading at" in text


# `make test` asks each folder for the tests of its marks: to collect all takes every process 10 s.
FOLDERS = {
    "cluster": ("cluster", "engine"),
    "engine": ("cluster", "engine"),
    "alone": ("sandbox",),
    "browser": ("browser",),
    "e2e": ("e2e",),
}
# Folders that are asked for as a whole, by `make e2e` and `make test-controllers`.
WHOLE = {"e2e": "e2e", "controllers": "cluster"}
MARKED = re.compile(r"mark\.(cluster|engine|alone|browser|e2e)\b")


def test_marked_tests_lie_where_they_are_asked_for():
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = path.relative_to(ROOT / "tests").parts[0]
        marks = set(MARKED.findall(path.read_text()))
        if folder in WHOLE:
            assert WHOLE[folder] in marks, path
            continue
        for mark in marks:
            assert folder in FOLDERS[mark], f"{path} is marked {mark}"
        assert folder != "browser" or "browser" in marks, path


# Documents name the tests that prove what they say: path::function.
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PROOFS = [
    (path.relative_to(ROOT), *found)
    for path in sorted((ROOT / "docs").rglob("*.md"))
    for found in NAMED.findall(path.read_text())
]


def test_documents_name_tests():
    assert PROOFS


@pytest.mark.parametrize(("document", "path", "name"), PROOFS)
def test_a_test_that_a_document_names_exists(document, path, name):
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, functions)}


GUARANTEES = (ROOT / "docs" / "rollouts.md").read_text().partition("way back guarantees\n")[2]


@pytest.mark.parametrize("number", range(1, 12))
def test_a_test_stands_behind_each_guarantee_of_a_way_back(number):
    section = GUARANTEES.partition("\n## ")[0]
    (row,) = re.findall(rf"^\| {number} \|.*$", section, re.MULTILINE)
    assert NAMED.findall(row)


FAULTS = re.findall(
    r"^\| (?!fault|-)(.+?) \| (.*) \|$", GUARANTEES.partition("Fault by fault")[2], re.M
)
SABOTAGED = {
    "hung watch or connection", "answer to a write lost", "slow API server", "API server down",
    "410 Gone", "worker killed", "two workers, one rollout", "worker stopped and continued",
    "clock of a worker off", "apply conflict", "deletes in states that go on",
    "quota full", "no GPU", "scheduling gates", "cordon and drain", "terminating pod holds its GPU",
    "crash, out of memory, never ready, image, answers", "ready, then dead", "frozen, idle",
    "paused", "5 % of answers 500", "metrics missing", "drain",
    "node lost on the way back", "Redis gone", "abort", "the model in memory",
    "410 Gone for a watch", "autoscaler", "hand edits of image and number", "frozen, busy",
    "few samples",
}  # fmt: skip


def test_every_fault_is_listed():
    assert {name for name, _ in FAULTS} == SABOTAGED


@pytest.mark.parametrize(("fault", "tests"), FAULTS)
def test_each_fault_is_tried_on_a_real_api_server(fault, tests):
    found = NAMED.findall(tests)
    assert found, fault
    for path, _ in found:
        assert "cluster" in MARKED.findall((ROOT / path).read_text()), path


ROWS = re.findall(r"^\| (?!guarantee|\||-|fault)(.+) \|$", GUARANTEES, re.M)


@pytest.mark.parametrize("row", ROWS)
def test_every_line_about_rollouts_names_a_test(row):
    assert NAMED.findall(row) or "both of the above" in row, row


DRIVEN = {p.stem: p.read_text() for p in (ROOT / "fleet" / "drive").glob("*.py")}


@pytest.mark.parametrize("name", sorted(DRIVEN.keys() - {"foreground"}))  # that tells the hour
def test_what_drives_takes_the_time_from_the_database(name):
    """Workers write and compare moments of each other, and their clocks may differ."""
    assert "timezone.now" not in DRIVEN[name]
    assert "datetime.now" not in DRIVEN[name]
