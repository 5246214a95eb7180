"""Vendored files are what their manifest says, and templates name only what is there."""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [
    ROOT / "static" / "vendor",
    ROOT / "tests" / "browser" / "vendor",
    ROOT / "billing" / "clients" / "fonts",
]
LINE = re.compile(r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$", re.M)
ABOUT = {"MANIFEST.md", "LICENSES.txt", "LICENSE-axe-core.txt"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.parent.name)
def test_it_has_the_digest_of_every_vendored_file(folder: Path):
    said = dict(LINE.findall((folder / "MANIFEST.md").read_text()))
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ABOUT
    }
    assert found == said


def test_it_has_every_icon_that_is_named():
    sprite = (ROOT / "static" / "vendor" / "icons.svg").read_text()
    there = set(re.findall(r'<symbol id="([^"]+)"', sprite))
    named = set()
    for path in (ROOT / "templates").rglob("*.html"):
        named |= set(re.findall(r'{% icon "([^"]+)"', path.read_text()))
    for path in (ROOT / "console").rglob("*.py"):
        text = path.read_text()
        named |= set(re.findall(r'Word\("\w+", "([^"]+)"', text))
        named |= set(re.findall(r'Entry\(\s*"[^"]+", "([^"]+)"', text))
    assert named - there == set()


def test_it_has_no_inline_script_or_style():
    """The browser would refuse them; a test is quicker than a broken page."""
    for path in (ROOT / "templates").rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:|hx-on", text), path
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), path
