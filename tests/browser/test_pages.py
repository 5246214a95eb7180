"""Every page in a real browser: both themes, wide and narrow, and what axe says about it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import PICTURES, Visit, Visitor
from tests.browser.registry import PAGES

pytestmark = pytest.mark.browser
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
SEVERE = ("serious", "critical")
DRAWN = "[...document.querySelectorAll('[data-drawn]')].every(e => e.querySelector('.main-svg'))"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_it_shows_the_page_without_a_fault(
    name: str, theme: str, visitor: Visitor, scene: SimpleNamespace
):
    visit = visitor(theme=theme)
    open_page(visit, PAGES[name](scene))
    picture(visit.page, f"{name}-{theme}")
    assert visit.complaints == []
    assert visit.page.evaluate("window.violations") == []
    assert severe_findings(visit.page) == []
    assert overhang(visit.page) == 0


@pytest.mark.parametrize("name", PAGES)
def test_it_fits_a_phone(name: str, visitor: Visitor, scene: SimpleNamespace):
    visit = visitor(width=390)
    open_page(visit, PAGES[name](scene))
    picture(visit.page, f"{name}-phone")
    assert overhang(visit.page) == 0
    assert severe_findings(visit.page) == []


def open_page(visit: Visit, address: str) -> None:
    answer = visit.page.goto(address)
    assert answer is not None and answer.status == 200, f"{address} answered {answer.status}"
    if visit.page.locator("[data-fig]").count():
        visit.page.wait_for_function(DRAWN)
    visit.page.wait_for_load_state("networkidle")


def severe_findings(page: Page) -> list[str]:
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{v['id']} {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for v in found["violations"]
        if v["impact"] in SEVERE
        for node in v["nodes"][:3]
    ]


def overhang(page: Page) -> int:
    """Pixels by which the page is wider than the window: sideways scroll."""
    return page.evaluate(
        "Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)"
    )


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
