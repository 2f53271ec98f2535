"""A headless Chromium for the tests of the console."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser at CHROMIUM, or the one on PATH.

    Without one the tests are skipped, and pytest's summary says why. `.ci/run` sets CHROMIUM, so there none is skipped.
    """
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("the console's page is NOT tested: no Chromium is on PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page in a context of its own, with everything that must not happen there.

    faults: errors and warnings of the browser's console, uncaught errors, dialogs, and requests to other hosts.
    """

    def __init__(self, browser: Browser, url: str, **context: Any) -> None:
        self._context = browser.new_context(**context)
        self.page: Page = self._context.new_page()
        self.faults: list[str] = []
        note = self.faults.append
        self.page.on("console", lambda each: note(each.text) if each.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda each: note(str(each)))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", lambda each: note(each.url) if not each.url.startswith(url) else None)
        self.page.goto(url)

    def _dismiss(self, dialog: Dialog) -> None:
        self.faults.append(dialog.message)
        dialog.dismiss()

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()
        assert not self.faults
