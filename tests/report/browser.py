"""A headless Chromium for the tests of the page: the one of the system, without network, with a profile of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

# The lowest contrast of any visible text with what lies behind it (WCAG 2.2, 1.4.3), translucent backgrounds blended.
LOWEST_CONTRAST = """() => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (top, below) => top.slice(0, 3).map((value, i) => value * top[3] + below[i] * (1 - top[3]));
  const light = (rgb) => { const [r, g, b] = rgb.map((value) => { const c = value / 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (element) => { const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]); };
  let lowest = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || element.closest("script, style, svg, .skip") || !element.checkVisibility()) continue;
    const back = behind(element), ink = over(parse(getComputedStyle(element).color), back);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x), contrast = (a + 0.05) / (b + 0.05);
    if (contrast < lowest[0]) lowest = [contrast, `${element.className || element.tagName}: ${text.slice(0, 40)}`];
  }
  return lowest;
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser; the test is skipped where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser to look at the page with; one of {', '.join(NAMES)} is needed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, **context: object) -> Iterator[Page]:
    """A page in a context of its own, watched: an error in it, or a request for anything but itself, fails the test."""
    with browser.new_context(**context) as kept, kept.new_page() as page:
        page.set_default_timeout(10_000)
        complaints: list[str] = []
        itself = url.split("#", maxsplit=1)[0]
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(itself) else complaints.append(request.url),
        )
        page.goto(url)
        yield page
        assert complaints == []
