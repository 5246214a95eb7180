"""A console that runs as in production (own process, ASGI), and a real Chromium before it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.console.calendar_scene import furnish_calendar
from tests.console.drill_scene import furnish_drill
from tests.console.scene import PASSWORD, make_scene
from tests.console.sequence_scene import furnish_sequence
from tests.plugins.database import Seeds, superuser

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "artifacts" / "browser"
# The chart library alone is read for seconds on a machine that does much else.
expect.set_options(timeout=20_000)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="package")
def scene(django_db_setup, django_db_blocker) -> Iterator[SimpleNamespace]:
    """Committed rows: another process reads them. Taken away again after the last browser test."""
    with django_db_blocker.unblock():
        seeds = Seeds()
        now = timezone.now()
        made = furnish_sequence(furnish_calendar(make_scene(now), now), now)
        furnish_drill(made, now)
        connection.close()
        yield made
        seeds.restore()
        connection.close()


@pytest.fixture(scope="package")
def console_url(scene: SimpleNamespace, tmp_path_factory) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("console") / "console.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "console.asgi:application", "--port", str(port)],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": database_url(), "QM_CONSOLE_URL": url},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(url, server, log)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def database_url() -> str:
    where = settings.DATABASES["default"]
    return f"postgresql://{where['USER']}@/{connection.settings_dict['NAME']}?host={where['HOST']}"


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/livez").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"The console does not answer:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="package")
def chromium(console_url: str) -> Iterator[Browser]:
    """Started after the database was filled: Playwright's loop forbids Django's ORM here."""
    program = (
        os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    if not program:
        pytest.fail("No Chromium: install the package 'chromium', or name one by CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


def observe_again() -> None:
    """No observer runs here: keep the picture of one cluster fresh, the other one lost."""
    with superuser() as server:
        server.execute("UPDATE cluster SET observed_at = now() WHERE trouble = ''")


Visitor = Callable[..., "Visit"]


class Visit:
    """A signed-in page that remembers what the browser complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("response", self._answered)

    def _heard(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _answered(self, response) -> None:
        if response.status >= 500:
            self.complaints.append(f"{response.status} from {response.url}")


@pytest.fixture(scope="package")
def sessions() -> dict[str, Any]:
    """Cookies of people who signed in once; the sign-in page has tests of its own."""
    return {}


class Browsing:
    """Opens pages, each in a session of its own, of people who signed in once."""

    def __init__(self, chromium: Browser, url: str, sessions: dict[str, Any]) -> None:
        self.chromium, self.url, self.sessions = chromium, url, sessions
        self.contexts: list[BrowserContext] = []

    def visit(self, *, theme: str = "light", width: int = 1440, user: str | None = "olga") -> Visit:
        context = self.chromium.new_context(
            base_url=self.url,
            color_scheme=theme,
            viewport={"width": width, "height": 1000},
            reduced_motion="reduce",
            storage_state=self.sessions.get(user or ""),
        )
        context.add_init_script(
            "window.violations = [];"
            "document.addEventListener('securitypolicyviolation', (e) =>"
            " window.violations.push(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}`));"
        )
        self.contexts.append(context)
        visit = Visit(context.new_page())
        if user and user not in self.sessions:
            sign_in(visit.page, user)
            self.sessions[user] = context.storage_state()
            visit.complaints.clear()
        return visit

    def close(self) -> None:
        for context in self.contexts:
            context.close()


@pytest.fixture
def visitor(chromium: Browser, console_url: str, sessions: dict[str, Any]) -> Iterator[Visitor]:
    """Make a page in its own session: `visitor(theme="dark", width=390, user="olga")`."""
    observe_again()
    browsing = Browsing(chromium, console_url, sessions)
    yield browsing.visit
    browsing.close()


@pytest.fixture(scope="package")
def reading(chromium: Browser, console_url: str, sessions: dict[str, Any]) -> Iterator[Visit]:
    """One page for all that is only read: the browser keeps scripts and styles as for people."""
    browsing = Browsing(chromium, console_url, sessions)
    yield browsing.visit()
    browsing.close()


def sign_in(page: Page, user: str) -> None:
    page.goto("/account/login/")
    page.get_by_label("Email").fill(f"{user}@example.test")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/account/login" not in url)
