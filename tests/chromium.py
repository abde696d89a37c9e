"""A browser for tests, without a window and without a network of its own; tests skip where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

SWITCHES = (
    *("headless", "no-sandbox", "disable-gpu", "no-first-run", "window-size=900,1200"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
)


@contextmanager
def chromium(profile: Path, logs: tuple[str, ...] = ()) -> Iterator[Any]:
    """Give a browser, and end it.

    Parameters
    ----------
    profile : a folder of its own.
    logs : which logs it keeps whole: "browser", "performance".
    """
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium and chromedriver on the path")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (*SWITCHES, f"user-data-dir={profile}"):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()
