"""Money pages on paper: light, without navigation, every column of every table, on A4."""

import re
import zlib
from types import SimpleNamespace

import pytest

from tests.browser.conftest import PICTURES, Visit, observe_again
from tests.browser.registry import PAGES
from tests.browser.test_pages import open_page

pytestmark = pytest.mark.browser
A4 = (595, 842)  # points
MARGINS = 24 * 96 / 25.4  # pixels, left and right together
# Of each page: how it lies, and words that stand on it, from its charts' tables too.
PAPER = {
    "invoice": ("upright", ["Lines", "Total", "Frozen record"]),
    "tenant_billing": ("upright", ["Month to date", "Threshold", "By token type", "Time (UTC)"]),
    "economics": ("wide", ["Net margin", "Price per M", "Left over", "GPU hours by product"]),
    "billing_account": ("upright", ["Statement", "Balance after"]),
    "period_closing": ("upright", ["Before it closes", "The way out"]),
}
SHOWN = """(words) => {
  const seen = (e) => e.checkVisibility() && e.getClientRects().length;
  const every = [...document.querySelectorAll('#main *')].filter(seen);
  const said = every.map((e) => e.textContent.trim());
  return words.filter((w) => !said.includes(w) && !said.some((s) => s.startsWith(w)));
}"""
CUT_OFF = """() => [...document.querySelectorAll('#main td, #main th, #main p, #main dd')]
  .filter((e) => e.checkVisibility() && !e.closest('.sr') && !e.matches('.sr'))
  .filter((e) => e.getBoundingClientRect().width)
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.textContent.trim().slice(0, 40))"""
PRESSED = """() => [...document.querySelectorAll('nav, header.top, button, form, .btn, .fig')]
  .filter((e) => e.checkVisibility()).map((e) => e.outerHTML.slice(0, 60))"""
COLOURS = """() => [document.body, document.querySelector('.cd'), document.querySelector('h1')]
  .map((e) => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color])"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAPER)
def test_it_prints(name: str, theme: str, reading: Visit, scene: SimpleNamespace):
    observe_again()
    page, (lies, words) = reading.page, PAPER[name]
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": 1440, "height": 1000})
    open_page(page, PAGES[name](scene))
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    assert sizes(pdf) == {A4 if lies == "upright" else A4[::-1]}
    assert 1 <= pages(pdf) <= 6
    assert drawn(pdf) > 40, "an empty sheet has no text to draw"
    paper = (210 if lies == "upright" else 297) * 96 / 25.4 - MARGINS
    page.set_viewport_size({"width": int(paper), "height": 1100})
    page.emulate_media(media="print", color_scheme=theme)
    try:
        look = (page.evaluate(CUT_OFF), page.evaluate(PRESSED), page.evaluate(SHOWN, words))
        colours = page.evaluate(COLOURS)
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}-{theme}-print.png", full_page=True)
    finally:
        page.emulate_media(media="null")
    assert look == ([], [], [])
    assert {back for back, _ in colours} <= {"rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"}
    assert {ink for _, ink in colours} == {"rgb(21, 32, 43)"}


def pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))


def sizes(pdf: bytes) -> set[tuple[int, int]]:
    """Of its sheets, in points."""
    boxes = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    return {(round(float(width)), round(float(height))) for width, height in boxes}


def drawn(pdf: bytes) -> int:
    """Runs of text that its sheets draw."""
    runs = 0
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            runs += len(re.findall(rb"\bT[jJ]\b", zlib.decompress(stream)))
        except zlib.error:
            continue
    return runs
