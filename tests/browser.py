"""The machine's Chromium, driven by Playwright. Any request beyond the page's host is refused and remembered."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, Route, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
ARGUMENTS = [
    "--no-sandbox",  # The browser of a container runs as root, and opens pages of ours only.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT = 60_000.0  # milliseconds, far more than a busy machine needs
Scheme = Literal["light", "dark"]


class Desk:
    """A page of the admin in a browser. `foreign`: requests that left our host; `errors`: what its console reports."""

    def __init__(self, page: Page, base: str) -> None:
        self.page, self.base = page, base
        self.foreign: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(TIMEOUT)
        page.route("**/*", self._check)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)

    def _check(self, route: Route) -> None:
        url = route.request.url
        if urlsplit(url).netloc == urlsplit(self.base).netloc or url.startswith("data:"):
            route.continue_()
        else:
            self.foreign.append(url)
            route.abort()

    def log_in(self, name: str, password: str) -> None:
        self.open("/admin/login/?next=/admin/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.follow(self.page.get_by_role("button", name="Log in"))

    def open(self, path: str) -> None:
        self.page.goto(self.base + path)

    def follow(self, link_or_button: Locator) -> None:
        """Click, and wait for the page that it leads to."""
        with self.page.expect_navigation():
            link_or_button.click()

    def press(self, name: str) -> None:
        self.follow(self.page.get_by_role("button", name=name, exact=True))

    def run_action(self, label: str) -> None:
        """Choose an action for the selected rows of a list."""
        self.page.locator("select[name=action]").select_option(label=label)
        self.press("Go")

    @property
    def text(self) -> str:
        return self.page.locator("body").inner_text()

    @property
    def messages(self) -> str:
        """What the last action has reported."""
        return " ".join(self.page.locator(".messagelist li").all_inner_texts())


@contextmanager
def start_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_desk(browser: Browser, base: str, *, scheme: Scheme = "light", width: int = 1366) -> Iterator[Desk]:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        yield Desk(context.new_page(), base)
    finally:
        context.close()
