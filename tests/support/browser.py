"""Chromium, driven by chromedriver's WebDriver protocol (w3.org/TR/webdriver2) in plain HTTP."""

import base64
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ends import spawned
from tests.support.mounting import wait_until

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Enter": "\ue007", "Tab": "\ue004", "Left": "\ue012", "Up": "\ue013", "Right": "\ue014"}
KEYS |= {"Down": "\ue015", "Escape": "\ue00c"}
_ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
]


class Browser:
    """One session of a browser."""

    def __init__(self, port: int, folder: Path) -> None:
        self._address = f"http://127.0.0.1:{port}/session"
        options = {"args": [*_ARGUMENTS, f"--user-data-dir={folder}"]}
        found = self._send(
            "POST",
            "",
            {
                "capabilities": {
                    "alwaysMatch": {
                        "browserName": "chrome",
                        "goog:chromeOptions": options,
                        "goog:loggingPrefs": {"browser": "ALL"},
                    }
                }
            },
        )
        self._address += f"/{found['sessionId']}"

    def _send(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.loads(reply.read())["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:500]) from None

    def open(self, url: str) -> None:
        """Open a page."""
        self._send("POST", "/url", {"url": url})

    def js(self, code: str, *arguments: object) -> Any:
        """Return what a function body returns; a promise is waited for."""
        return self._send("POST", "/execute/sync", {"script": code, "args": list(arguments)})

    def text(self, selector: str = "body") -> str:
        """The visible text of the first element."""
        return str(
            self.js("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
        )

    def count(self, selector: str) -> int:
        """How many elements there are."""
        return int(self.js("return document.querySelectorAll(arguments[0]).length", selector))

    def wait_for(self, code: str, what: str, seconds: float = 20.0) -> None:
        """Wait until an expression is true."""
        wait_until(lambda: self.js(f"return Boolean({code})"), what, seconds)

    def click(self, selector: str) -> None:
        """Click the first element."""
        found = self._send("POST", "/element", {"using": "css selector", "value": selector})
        self._send("POST", f"/element/{found[ELEMENT]}/click", {})

    def press(self, *keys: str) -> None:
        """Press keys one after another, by their names in KEYS or as themselves."""
        actions = [
            {"type": kind, "value": KEYS.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        body = {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}
        self._send("POST", "/actions", body)

    @contextmanager
    def tab(self) -> Iterator[None]:
        """Another tab, in front; the one before is hidden meanwhile."""
        before = self._send("GET", "/window")
        made = self._send("POST", "/window/new", {"type": "tab"})
        self._send("POST", "/window", {"handle": made["handle"]})
        try:
            yield
        finally:
            self._send("DELETE", "/window")
            self._send("POST", "/window", {"handle": before})

    def resize(self, width: int, height: int, *, scheme: str = "dark", still: bool = True) -> None:
        """Set the size of the page, and what the user prefers."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.cdp("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.cdp("Emulation.setEmulatedMedia", {"features": features})

    def cdp(self, command: str, parameters: Mapping[str, object]) -> Any:
        """Send a command of the DevTools protocol."""
        body = {"cmd": command, "params": parameters}
        return self._send("POST", "/goog/cdp/execute", body)

    def screenshot(self, path: Path) -> None:
        """Write what is visible as a PNG."""
        path.write_bytes(base64.b64decode(self._send("GET", "/screenshot")))

    def errors(self) -> list[str]:
        """What the console has said since the last call, such as violations of the policy."""
        logged = self._send("POST", "/se/log", {"type": "browser"})
        return [str(one["message"]) for one in logged if one["level"] == "SEVERE"]

    def close(self) -> None:
        """End the session."""
        self._send("DELETE", "")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser, with its profile in *folder*, as Debian's chromium-driver has it."""
    with spawned(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as driver:
        try:
            assert driver.stdout is not None
            said = next(
                found
                for line in driver.stdout
                if (found := re.search(r"successfully on port (\d+)", line))
            )
            made = Browser(int(said[1]), folder)
            try:
                yield made
            finally:
                made.close()
        finally:
            driver.terminate()
