"""A real Chromium, driven over WebDriver: pages as a user sees them, with and without JavaScript.

Never talks to anything but the pages it is sent to: updates, sync and background traffic are switched off,
and its profile is new each time.
"""

import base64
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.servers.ports import LOOPBACK, free_port
from tests.servers.process import Server, locate, wait_until

_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
# The name under which WebDriver hands elements around (W3C WebDriver, section 12, "Elements").
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class BrowserError(Exception):
    """The browser refused a command; carries its own words (WebDriver error and message)."""


class Page:
    """One window of a browser session; made by `Chromium.page`."""

    def __init__(self, driver: httpx.Client, session: str) -> None:
        self._driver = driver
        self._path = f"/session/{session}"

    def open(self, url: str) -> None:
        """Go there and wait for its load event. Raises BrowserError, e.g. when nothing listens."""
        self._post("url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._command("GET", "url"))

    @property
    def title(self) -> str:
        return str(self._command("GET", "title"))

    def text(self, selector: str = "body") -> str:
        """The visible text of the first element that matches a CSS selector."""
        return str(self._on(selector, lambda element: self._command("GET", f"{element}/text")))

    def count(self, selector: str) -> int:
        """How many elements match a CSS selector."""
        return len(self._post("elements", {"using": "css selector", "value": selector}))

    def click(self, selector: str) -> None:
        """Click the first element that matches; it must be visible and not covered."""
        self._on(selector, lambda element: self._post(f"{element}/click", {}))

    def type(self, selector: str, keys: str) -> None:
        """Type into the first element that matches."""
        self._on(selector, lambda element: self._post(f"{element}/value", {"text": keys}))

    def press(self, key: str) -> None:
        """Press and release one key where the focus is; `\\ue004` is Tab, `\\ue007` Enter."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._post("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def eval(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, also where the page's own is switched off."""
        return self._post("execute/sync", {"script": f"return ({expression})", "args": []})

    def wait_for(self, expression: str, within: float = 10.0) -> None:
        """Poll a JavaScript expression until it is true. Raises TimeoutError after `within` seconds."""
        wait_until(lambda: bool(self.eval(expression)), expression, within)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a PNG of the window, or of the `whole` page however long it is."""
        options = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            box = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {**box, "scale": 1}
        path.write_bytes(base64.b64decode(self.devtools("Page.captureScreenshot", **options)["data"]))

    def devtools(self, method: str, **parameters: Any) -> Any:
        """Call a method of the Chrome DevTools Protocol."""
        return self._post("goog/cdp/execute", {"cmd": method, "params": parameters})

    def close(self) -> None:
        self._command("DELETE", "")

    def _on(self, selector: str, command: Callable[[str], Any]) -> Any:
        """Do it with the first that matches; again, where the page put another in its place in between."""
        for _ in range(10):
            element = self._post("element", {"using": "css selector", "value": selector})[_ELEMENT]
            try:
                return command(f"element/{element}")
            except BrowserError as error:
                if not str(error).startswith("stale element reference"):
                    raise
        raise BrowserError(f"{selector}: replaced each time it was found")

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._command("POST", path, body)

    def _command(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._driver.request(method, f"{self._path}/{path}".rstrip("/"), json=body)
        return _value(answer)


class Chromium(Server):
    """A WebDriver server; each `page` is a browser of its own with an empty profile."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"

    def argv(self) -> list[str]:
        return [locate("chromedriver", "chromium-driver"), f"--port={self.port}", "--log-level=WARNING"]

    def environment(self) -> dict[str, str]:
        # Chromium leaves folders in the temporary directory and in the home: give it its own.
        return {"TMPDIR": str(self.folder), "HOME": str(self.folder)}

    def ready(self) -> bool:
        try:
            return bool(httpx.get(f"{self.url}/status", timeout=1).json()["value"]["ready"])
        except httpx.HTTPError:
            return False

    @contextlib.contextmanager
    def page(
        self, width: int = 1280, height: int = 800, *, dark: bool = False, javascript: bool = True
    ) -> Iterator[Page]:
        """A new browser with a window of `width` x `height` CSS pixels; ended afterwards."""
        options = {
            "binary": locate("chromium", "chromium"),
            "args": [*_ARGUMENTS, f"--window-size={width},{height}"],
        }
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        with httpx.Client(base_url=self.url, timeout=60) as driver:
            page = Page(driver, _value(driver.post("/session", json=wanted))["sessionId"])
            try:
                # Headless windows have a least width: phones are told from within.
                page.devtools(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=height,
                    deviceScaleFactor=1,
                    mobile=False,
                )
                scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
                page.devtools("Emulation.setEmulatedMedia", features=[scheme])
                if not javascript:
                    page.devtools("Emulation.setScriptExecutionDisabled", value=True)
                yield page
            finally:
                page.close()

    def screenshot(self, url: str, width: int, height: int, path: Path, dark: bool = False) -> None:
        """Write a PNG of what `url` looks like in a window of that size."""
        with self.page(width, height, dark=dark) as page:
            page.open(url)
            page.screenshot(path)


def _value(answer: httpx.Response) -> Any:
    value = answer.json()["value"]
    if answer.is_error:
        raise BrowserError(f"{value['error']}: {value['message'].splitlines()[0]}")
    return value
