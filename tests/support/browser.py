"""The system's Chromium without a network, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, TimeoutError

# a JavaScript function that opens and draws everything on a page, and returns what is wrong with it
LOOKS = (Path(__file__).parent / "looks.js").read_text(encoding="utf-8").partition("\n")[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-server=127.0.0.1:9",  # nothing listens there
]


@contextmanager
def open_page(browser: Browser, address: str, width: int, drawn: str) -> Iterator[Page]:
    """Open `address` in a window `width` pixels wide, a phone's if below 600, and wait until the
    JavaScript expression `drawn` is true. By the end of the block there must have been no console
    message, uncaught error or failed request."""
    problems = []
    with browser.new_context(
        viewport={"width": width, "height": 900}, is_mobile=width < 600
    ) as window:
        page = window.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda request: problems.append(request.url))
        page.goto(address)
        try:
            page.wait_for_function(drawn, timeout=60_000)  # milliseconds
        except TimeoutError:
            raise AssertionError(f"{address} is not drawn after a minute: {problems}") from None
        yield page
    assert not problems, problems
