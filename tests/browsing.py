"""A browser for tests of pages: Debian's Chromium without a window, driven by Playwright, and axe-core."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")

VIEWS = [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")]
"""Widths in pixels, and colour schemes."""


@contextmanager
def open_browser(microphone: Path | None = None) -> "Iterator[Browser]":
    """Start Chromium, its microphone a sound file; skips the test where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright (the extra `dev`)"
    )
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"needs a browser: {', '.join(NAMES)} (on Debian: apt-get install chromium)")
    # Root may not have a sandbox; a container's /dev/shm is small.
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    if microphone is not None:
        arguments += [
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def barriers(page: "Page") -> list[str]:
    """Name what axe-core finds serious or critical on a page, with the places."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python"
    )
    found: list[dict[str, Any]] = axe.Axe().run(page).response["violations"]
    return [
        f"{of['impact']} {of['id']}: {node['html'][:160]}"
        for of in found
        if of["impact"] in ("serious", "critical")
        for node in of["nodes"]
    ]


def keep_screenshot(page: "Page", name: str) -> None:
    """Write a picture of a whole page into the folder that VQSPEECH_SCREENSHOTS names, if it does."""
    if folder := os.environ.get("VQSPEECH_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def overflow(page: "Page") -> int:
    """Count the pixels by which a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")
