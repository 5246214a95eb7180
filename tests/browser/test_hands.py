"""What people do with their hands: keyboard only, themes, live parts, the palette."""

import re
from types import SimpleNamespace

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.registry import PAGES
from tests.browser.test_pages import FITTING, open_page, overhang
from tests.console.scene import PASSWORD

pytestmark = pytest.mark.browser
NAME_OF_FOCUS = """() => {
    const focus = document.activeElement;
    const label = focus.labels && focus.labels[0];
    return (focus.getAttribute("aria-label") || label?.innerText || focus.innerText || "").trim();
}"""

MOVED_DOWN = """() => {
    for (let e = document.activeElement; e.id !== "service-live"; e = e.parentElement)
        e.before(document.createElement("p"));
}"""


def tab_to(page: Page, name: str, most: int = 60) -> None:
    """Press Tab until the element with this accessible name has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        said = page.evaluate(NAME_OF_FOCUS)
        if said.startswith(name):
            return
    raise AssertionError(f"Tab never reached {name!r}")


def test_it_signs_in_with_the_keyboard_alone(visitor: Visitor):
    page = visitor(user=None).page
    page.goto("/services/")
    tab_to(page, "Email")
    page.keyboard.type("olga@example.test")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/services/")  # where one wanted to go
    expect(page.get_by_role("heading", level=1)).to_have_text("Services")


def test_it_refuses_a_wrong_password_and_keeps_the_address(visitor: Visitor):
    page = visitor(user=None).page
    page.goto("/account/login/")
    page.get_by_label("Email").fill("olga@example.test")
    page.get_by_label("Password").fill("not this one at all")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Email")).to_have_value("olga@example.test")


def test_it_pauses_a_rollout_with_the_keyboard_alone(visitor: Visitor, scene: SimpleNamespace):
    visit = visitor()
    page = visit.page
    page.goto(f"/rollouts/{scene.rollouts['analyzing'].pk}/")
    tab_to(page, "Pause: hold at")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.type("Looking at the latency first")
    tab_to(page, "Pause", most=4)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("pause asked")
    expect(page.locator("#page-head")).to_contain_text("Pause")
    assert visit.complaints == []


def test_it_closes_a_dialog_by_escape_and_gives_the_focus_back(
    visitor: Visitor, scene: SimpleNamespace
):
    page = visitor().page
    page.goto(f"/approvals/{scene.change.pk}/")
    tab_to(page, "Withdraw the proposal")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert "Withdraw" in page.evaluate("document.activeElement.innerText")


def test_it_skips_to_the_page_as_the_first_stop(visitor: Visitor):
    page = visitor().page
    page.goto("/clusters/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the page"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_it_asks_for_the_typed_name_before_an_approval(visitor: Visitor, scene: SimpleNamespace):
    page = visitor(user="vic").page
    page.goto(f"/approvals/{scene.change.pk}/")
    approve = page.get_by_role("button", name="Approve: start now")
    expect(approve).to_be_disabled()
    page.get_by_label("Type code-large to approve").fill("code-larg")
    expect(approve).to_be_disabled()
    page.get_by_label("Type code-large to approve").fill("code-large")
    expect(approve).to_be_enabled()


def test_it_remembers_the_theme_and_sets_it_before_the_first_paint(visitor: Visitor):
    page = visitor().page
    page.goto("/services/")
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    # The script in the head has run by the time the body begins to exist.
    page.add_init_script(
        "new MutationObserver((_, seen) => { if (document.body) { seen.disconnect();"
        " window.themeAtBody = document.documentElement.dataset.bsTheme; } })"
        ".observe(document, {childList: true, subtree: true});"
    )
    page.reload()
    assert page.evaluate("window.themeAtBody") == "dark"


def test_it_refreshes_a_live_part_and_keeps_focus_and_open_parts(
    visitor: Visitor, scene: SimpleNamespace
):
    visit = visitor()
    page = visit.page
    page.goto(f"/services/{scene.services[1].name}/")
    link = page.get_by_role("link", name="what is pinned in it")
    link.focus()
    page.evaluate("document.querySelector('#service-live').dataset.old = '1'")
    # As a chart or a list of choices has it: htmx would carry it over as an attribute.
    page.evaluate("document.querySelector('#service-live').style.minHeight = '1px'")
    page.evaluate("document.querySelectorAll('[id]').forEach((e) => { e.style.order = 0; })")
    # A line that is gone at the next look: what has the focus is then the first of its parent.
    page.evaluate(MOVED_DOWN)
    expect(page.locator("#service-live[data-old]")).to_have_count(0, timeout=15_000)
    assert page.evaluate("document.activeElement.innerText") == "what is pinned in it"
    assert visit.complaints == []
    assert page.evaluate("window.violations") == []


def test_it_leaves_a_live_part_alone_while_a_dialog_is_open(
    visitor: Visitor, scene: SimpleNamespace
):
    page = visitor().page
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if r.headers.get("hx-request") else None)
    page.goto(f"/rollouts/{scene.rollouts['paused'].pk}/")
    page.get_by_role("button", name=re.compile("^Resume")).click()
    before = len(asked)
    page.wait_for_timeout(4000)  # longer than the part's own 3 s
    assert len(asked) == before


def test_it_finds_pages_and_objects_from_the_palette(visitor: Visitor):
    page = visitor().page
    page.goto("/")
    page.keyboard.press("Control+k")
    page.get_by_label("Search objects and pages").fill("acme")
    expect(page.locator("#pal-hits a").first).to_contain_text("acme")
    page.get_by_label("Search objects and pages").fill("Approvals")
    page.keyboard.press("Enter")
    page.wait_for_url("**/approvals/")


def test_it_shows_a_chart_as_a_table_and_offers_no_upload(visitor: Visitor, scene: SimpleNamespace):
    page = visitor().page
    page.goto(f"/rollouts/{scene.rollouts['analyzing'].pk}/")
    expect(page.locator(".main-svg").first).to_be_visible()
    assert page.locator("[data-title*='cloud' i], [data-title*='share' i]").count() == 0
    card = page.locator("section[data-twin]").first
    card.get_by_role("button", name="Table").click()
    expect(card.get_by_role("table")).to_be_visible()
    expect(card.locator("[data-pane=chart]")).to_be_hidden()
    with page.expect_download() as download:
        card.get_by_role("button", name=re.compile("CSV")).click()
    assert download.value.suggested_filename.endswith(".csv")


def test_a_turned_phone_never_scrolls_sideways(visitor: Visitor, scene: SimpleNamespace):
    """A chart follows the window a moment later, longer on a busy machine: its card holds it."""
    page = visitor().page
    page.set_viewport_size({"width": 844, "height": 390})
    page.clock.install()
    open_page(page, PAGES["tenant_degradation"](scene))
    page.locator("[data-fig]").first.scroll_into_view_if_needed()
    expect(page.locator(".main-svg").first).to_be_visible()
    page.evaluate("localStorage.setItem('qm-refresh', 'off')")  # a minute passes at once
    page.clock.pause_at(page.evaluate("Date.now() + 60000"))
    page.set_viewport_size({"width": 390, "height": 844})
    assert not page.evaluate(FITTING), "no chart is waiting for its timer: nothing is tried"
    assert overhang(page) == 0
    page.clock.resume()
    page.wait_for_function(FITTING)


def test_it_says_a_refusal_with_the_request_id(visitor: Visitor):
    page = visitor().page
    answer = page.goto("/clusters/nowhere/")
    assert answer.status == 404
    expect(page.get_by_role("alert")).to_contain_text("There is no such cluster")
    expect(page.get_by_role("alert")).to_contain_text(answer.headers["x-request-id"])


def test_it_shows_a_form_again_with_what_was_typed(visitor: Visitor):
    page = visitor().page
    page.goto("/new/cluster/")
    page.get_by_label("Short name").fill("new-one")
    page.get_by_label("Region").fill("eu")
    page.get_by_label("Kubeconfig").fill("apiVersion: v1\nusers: [{user: {exec: {command: sh}}}]")
    page.get_by_role("button", name="Ask the cluster").click()
    expect(page.locator(".err")).not_to_have_count(0)
    expect(page.get_by_label("Short name")).to_have_value("new-one")
    expect(page.get_by_label("Kubeconfig")).to_have_attribute("aria-invalid", "true")


def test_it_gives_a_tenant_access_with_the_keyboard_alone(visitor: Visitor, scene: SimpleNamespace):
    """A tenant, its application and a key, which is shown: no pointer is needed on the way."""
    visit = visitor()
    page = visit.page
    page.goto("/tenants/")
    follow(page, "Add a tenant", "**/new/tenant/")
    write(page, {"Name": "Hooli", "Short name": "hooli"})
    page.wait_for_url("**/tenants/hooli/models/")
    follow(page, "Applications and keys", "**/tenants/hooli/applications/")
    follow(page, "New application", "**/tenants/hooli/new/application/")
    write(page, {"Name": "Reports", "Short name": "reports"})
    page.wait_for_url("**/tenants/hooli/applications/")
    follow(page, "New key", "**/applications/reports/new/key/")
    write(page, {"Name": "night run"})
    expect(page.locator("#secret")).to_have_text(re.compile(r"\S{30,}"))
    assert visit.complaints == []
    assert page.evaluate("window.violations") == []


def follow(page: Page, name: str, url: str) -> None:
    tab_to(page, name)
    page.keyboard.press("Enter")
    page.wait_for_url(url)


def write(page: Page, fields: dict[str, str]) -> None:
    for label, text in fields.items():
        tab_to(page, label)
        page.keyboard.type(text)
    page.keyboard.press("Enter")
