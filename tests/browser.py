"""The system's Chromium without a network, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, TimeoutError, sync_playwright

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
def open_page(address: str, width: int, drawn: str) -> Iterator[Page]:
    """The page at `address` in a window of `width` pixels, below 600 a phone's, once the JavaScript
    expression `drawn` is true. When the block ends, the page must have caused no message in the
    console, no uncaught error and no request that failed."""
    trouble = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        window = {"width": width, "height": 900}
        page = browser.new_page(viewport=window, is_mobile=width < 600)
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("requestfailed", lambda request: trouble.append(request.url))
        page.goto(address)
        try:
            page.wait_for_function(drawn, timeout=60_000)  # milliseconds
        except TimeoutError:
            raise AssertionError(f"{address} is not drawn after a minute: {trouble}") from None
        yield page
        browser.close()
    assert not trouble, trouble
