"""Every page in a real browser: both themes, wide and narrow, and what axe says about it."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import PICTURES, Visit, observe_again
from tests.browser.registry import PAGES

pytestmark = pytest.mark.browser
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
# What axe asks of each look: a theme changes colours only, a width everything else.
CONTRAST = ["color-contrast", "link-in-text-block"]
EVERYTHING: dict = {}
COLOURS = {"runOnly": CONTRAST}
FORM = {"rules": {rule: {"enabled": False} for rule in CONTRAST}}
LOOKS = (
    ("light", "light", 1440, EVERYTHING),
    ("dark", "dark", 1440, COLOURS),
    ("phone", "light", 390, FORM),
)
# A picture takes longer than all that is asked of a page. For who wants to look at every one.
ALL_PICTURES = os.environ.get("QM_PICTURES") == "1"
HIGHEST_ROW = 260  # pixels; ten lines and more
# A comparison of ways has rows of sentences.
TALL = """highest => [...document.querySelectorAll("main table:not(.cmp) > tbody > tr")]
    .filter((row) => row.getBoundingClientRect().height > highest)
    .map((row) => row.innerText.slice(0, 60))"""
SEVERE = ("serious", "critical")
# As functions: an expression is evaluated anew each time, which the pages forbid to scripts.
DRAWN = """() => [...document.querySelectorAll("[data-fig]")]
    .filter((place) => place.clientWidth && place.getBoundingClientRect().top < innerHeight)
    .every((place) => place.querySelector(".main-svg"))"""
# No chart is wider than its place: the library follows the window by a timer.
FITTING = """() => [...document.querySelectorAll("[data-drawn] .main-svg")].every((chart) => {
    const room = chart.closest("[data-drawn]").clientWidth;
    return !room || chart.getBoundingClientRect().width <= room + 1;
})"""


@pytest.mark.parametrize("name", PAGES)
def test_it_shows_the_page_without_a_fault(name: str, reading: Visit, scene: SimpleNamespace):
    """Light and dark on a desk, light on a phone: no complaint, no axe finding, no overhang.

    Opened once, then changed as somebody does who turns a phone or whose system grows dark: most
    of the time would go into loading.
    """
    observe_again()
    page = reading.page
    page.goto("about:blank")  # what the page before this one still says is not of this one
    reading.complaints.clear()
    set_look(page, "light", 1440)
    open_page(page, PAGES[name](scene))
    page.evaluate(AXE)
    for look, theme, width, rules in LOOKS:
        set_look(page, theme, width)
        if look == "light" or ALL_PICTURES:
            picture(page, f"{name}-{look}")  # which also draws what lies far below
        found = severe_findings(page, rules)
        assert (look, reading.complaints, violations(page), found) == (look, [], [], [])
        assert (look, overhang(page), tall_rows(page)) == (look, 0, [])


def set_look(page: Page, theme: str, width: int) -> None:
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 1000})
    page.wait_for_function(FITTING)


def open_page(page: Page, address: str) -> None:
    answer = page.goto(address)
    assert answer is not None and answer.status == 200, f"{address} answered {answer.status}"
    if page.locator("[data-fig]").count():
        page.wait_for_function(DRAWN)


def violations(page: Page) -> list[str]:
    return page.evaluate("window.violations")


def severe_findings(page: Page, rules: dict = EVERYTHING) -> list[str]:
    wish = {"resultTypes": ["violations"], "preload": False, **rules}
    found = page.evaluate("wish => axe.run(document, wish)", wish)
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


def tall_rows(page: Page) -> list[str]:
    """Rows of tables in which something gave way to a word or a letter a line."""
    return page.evaluate(TALL, HIGHEST_ROW)


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.jpeg", type="jpeg", quality=80, full_page=True)
