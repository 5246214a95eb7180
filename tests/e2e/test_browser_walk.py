"""The job in a real Chromium: access, a rollout that somebody else approves, and the way back."""

import os
import re
import secrets
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.clients import Tenant
from tests.fixtures.stack import ARTIFACTS, Stack, Stacks, until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.cluster,
    pytest.mark.browser,
    pytest.mark.timeout(600, func_only=True),
]
AXE = Path(__file__).resolve().parents[1] / "browser" / "vendor" / "axe.min.js"
PICTURES = ARTIFACTS / "e2e-browser"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
LISTEN = (
    "window.violations = [];"
    "document.addEventListener('securitypolicyviolation', (e) =>"
    " window.violations.push(`${e.violatedDirective} ${e.blockedURI}`));"
)
ROLLOUT_MS = 240_000
SEVERE = ("serious", "critical")


@pytest.fixture(scope="module")
def chromium():
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    program = program or shutil.which("google-chrome")
    if not program:
        pytest.fail("No Chromium: install the package 'chromium', or name one by CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


class Person:
    """Somebody at a browser, which remembers what it complained about."""

    def __init__(self, chromium: Browser, stack: Stack, who: str, theme: str) -> None:
        self.theme = theme
        self.context = chromium.new_context(
            base_url=stack.ready["console_url"],
            color_scheme=theme,
            viewport={"width": 1440, "height": 1000},
            reduced_motion="reduce",
        )
        self.context.add_init_script(LISTEN)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.complaints: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto("/account/login/")
        self.page.get_by_label("Email").fill(stack.ready[who]["email"])
        self.page.get_by_label("Password").fill(stack.ready[who]["password"])
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda url: "/account/login" not in url)

    def _heard(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def visit(self, address: str) -> None:
        answer = self.page.goto(address)
        assert answer and answer.status == 200, f"{address}: {answer and answer.status}"

    def send(self, address: str, **fields: str) -> None:
        """Fill the form of a page by the names of its fields, and send it."""
        self.visit(address)
        form = self.page.locator("main form[method=post]").last
        for name, value in fields.items():
            form.locator(f"[name={name}]").fill(value)
        form.locator("button[type=submit]").click()
        self.page.wait_for_load_state()
        assert not self.page.locator("main .err").count(), self.page.inner_text("main")

    def look(self, name: str) -> None:
        """Keep a picture in both themes; nothing serious may be wrong with the page."""
        for theme in ("light", "dark"):
            self.page.emulate_media(color_scheme=theme)
            PICTURES.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=PICTURES / f"{name}-{theme}.png", full_page=True)
            self.page.evaluate(AXE.read_text())
            found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            severe = [
                v["id"] for v in found["violations"] if v["impact"] in ("serious", "critical")
            ]
            broken = self.page.evaluate("window.violations")
            assert (name, theme, severe, broken, self.complaints) == (name, theme, [], [], [])
        self.page.emulate_media(color_scheme=self.theme)


@pytest.fixture(scope="module")
def stack(stacks: Stacks) -> Stack:
    return stacks.get("standin")


@pytest.fixture(scope="module")
def olga(stack: Stack, chromium: Browser):
    return Person(chromium, stack, "operator", "light")


@pytest.fixture(scope="module")
def vic(stack: Stack, chromium: Browser):
    return Person(chromium, stack, "approver", "dark")


@pytest.fixture(scope="module")
def slug() -> str:
    return f"umbrella-{secrets.token_hex(3)}"


def test_it_gives_a_tenant_access(stack: Stack, olga: Person, slug: str):
    olga.send("/new/tenant/", name="Umbrella", slug=slug)
    olga.send(f"/tenants/{slug}/new/application/", name="Desk", slug="desk")
    olga.send(f"/tenants/{slug}/models/", model="chat-large")
    olga.send(f"/tenants/{slug}/new/quota/", requests_per_minute="600", concurrency="8")
    olga.send(f"/tenants/{slug}/applications/desk/new/key/", name="first")
    secret = olga.page.locator("#secret").inner_text()
    assert re.fullmatch(r"qmk_\w{8}_[\w-]{43}", secret)
    client = Tenant(stack.ready["gateway_url"], "chat-large", secret)
    models = stack.holder(secret).http
    until(
        "the key at the gateway",
        lambda: models.get(f"{stack.ready['gateway_url']}/v1/models").status_code == 200,
        15,
    )
    for _ in range(3):
        assert client.ask("stream").completion_tokens > 0
    olga.visit(f"/tenants/{slug}/")
    olga.look("tenant")


def test_it_rolls_out_what_somebody_else_approves(stack: Stack, olga: Person, vic: Person):
    operator = stack.person("operator")
    service = next(s for s in operator.get("services") if s["name"] == "chat-large")
    spare = next(
        r
        for r in operator.get("releases", service_id=service["id"])
        if r["image_tag"] == "0.32.1" and r["id"] != service["release_id"]
    )
    plan = f"/new/rollout/?release={spare['id']}&replicas=4&soak_seconds=0&steps="
    olga.visit(plan)
    olga.look("plan")
    olga.send(plan, reason="a newer one")
    rollout = re.search(r"/rollouts/(\d+)/", olga.page.url)
    assert rollout
    detail = operator.get(f"rollouts/{rollout[1]}")
    change = detail["approval"]["change_id"]
    olga.visit(f"/approvals/{change}/")
    assert olga.page.get_by_text("somebody else decides").count()
    assert not olga.page.locator("#ap-typed").count()
    vic.visit(f"/approvals/{change}/")
    vic.look("approval")
    typed = vic.page.locator("#ap-typed").get_attribute("data-typed")
    assert typed
    vic.page.locator("#ap-typed").fill(typed)
    vic.page.get_by_role("button", name="Approve: start now").click()
    vic.page.wait_for_load_state()
    olga.visit(f"/rollouts/{rollout[1]}/")
    # The page renews itself: nobody reloads it.
    olga.page.locator("h1").get_by_text("Succeeded").wait_for(timeout=ROLLOUT_MS)
    olga.look("rollout")
    now = next(s for s in operator.get("services") if s["name"] == "chat-large")
    assert now["release_id"] == spare["id"]


def test_it_shows_traffic_money_and_degradation(olga: Person, slug: str):
    pages = ("/", "/requests/", "/degradation/", f"/billing/{slug}/", "/economics/", "/exports/")
    for address in pages:
        olga.visit(address)
        olga.look(address.strip("/").partition("/")[0] or "overview")


def test_it_rolls_back(stack: Stack, olga: Person):
    operator = stack.person("operator")
    last = next(
        r
        for r in operator.get("rollouts")
        if r["service"] == "chat-large" and r["phase"] == "succeeded"
    )
    olga.visit(f"/rollouts/{last['id']}/")
    olga.page.locator("button[data-dialog=dlg-back]").click()
    olga.page.locator("#dlg-back").get_by_role("button", name="Roll back now").click()
    olga.page.wait_for_url(lambda url: f"/rollouts/{last['id']}/" not in url)
    olga.page.locator("h1").get_by_text("Succeeded").wait_for(timeout=ROLLOUT_MS)
    olga.look("rollback")
    now = next(s for s in operator.get("services") if s["name"] == "chat-large")
    assert now["release_id"] == last["from_id"]


def test_it_heard_no_complaint(olga: Person, vic: Person):
    assert (olga.complaints, vic.complaints) == ([], [])
