"""A browser to look at pages with, driven over the WebDriver protocol (W3C); no package is needed for it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)


class Browser:
    """One window of a headless Chromium, with a log of all that it asks the network for."""

    def __init__(self, port: int, folder: Path, size: tuple[int, int], dark: bool, scripts: bool) -> None:
        self._base = f"http://127.0.0.1:{port}"
        flags = [*_FLAGS, f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}"]
        options: dict[str, Any] = {"args": flags}
        if not scripts:
            options["prefs"] = {"profile.managed_default_content_settings.javascript": 2}
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._base += f"/session/{made['sessionId']}"
        features = [{"name": "prefers-color-scheme", "value": "dark"}] if dark else []
        self.tools("Emulation.setEmulatedMedia", features=features)
        # A window has a least width; a phone is narrower
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 500}
        self.tools("Emulation.setDeviceMetricsOverride", **metrics)

    def open(self, page: Path) -> None:
        """Go to a file and wait until it is there."""
        self._ask("POST", "/url", {"url": "about:blank"})
        self.requested(), self.said()  # of the page that a browser opens with
        self._ask("POST", "/url", {"url": page.absolute().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, css: str) -> None:
        """Click an element as a person does: it must be seen, and not covered."""
        found = self._ask("POST", "/element", {"using": "css selector", "value": css})
        self._ask("POST", f"/element/{next(iter(found.values()))}/click", {})

    def wheel(self, css: str, up: int) -> None:
        """Turn the wheel over the middle of an element."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", css)
        found = self._ask("POST", "/element", {"using": "css selector", "value": css})
        turn = {"type": "scroll", "x": 0, "y": 0, "deltaX": 0, "deltaY": -up, "origin": found}
        self._ask("POST", "/actions", {"actions": [{"type": "wheel", "id": "wheel", "actions": [turn]}]})

    def tools(self, command: str, **parameters: Any) -> Any:
        """Send a command of the DevTools protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def requested(self) -> list[str]:
        """Return the addresses that were asked for since the last call."""
        entries = self._ask("POST", "/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def said(self) -> list[str]:
        """Return what the console holds since the last call."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as PNG."""
        found = self.tools("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """Close the window."""
        self._ask("DELETE", "", None)

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.tools("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None


@contextmanager
def browser(
    folder: Path, size: tuple[int, int] = (1200, 900), *, dark: bool = False, scripts: bool = True
) -> Iterator[Browser]:
    """Open a browser whose profile is in a folder, or skip the test where there is none."""
    driver = shutil.which("chromedriver")
    if driver is None or not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        pytest.skip("no chromium and chromedriver here")
    with subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            started = (re.search(r"successfully on port (\d+)", line) for line in process.stdout)
            port = next(int(found[1]) for found in started if found)
            opened = Browser(port, folder, size, dark, scripts)
            yield opened
            opened.close()
        finally:
            process.terminate()
