"""A headless Chromium over the WebDriver protocol, with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
)  # fmt: skip
START_S = 60.0


class Browser:
    """One session. Paths and requests as in the WebDriver recommendation."""

    def __init__(self, port: int, profile: Path, dark: bool) -> None:
        self._root = f"http://127.0.0.1:{port}"
        # the answer to prefers-color-scheme cannot be set by WebDriver, only at the start
        scheme = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
        options = {"args": [*FLAGS, *scheme, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        answer = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"

    def _send(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def open(self, page: Path) -> None:
        self._send("POST", f"{self._session}/url", {"url": page.resolve().as_uri()})

    def resize(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", metrics)

    def run(self, script: str, *arguments: object) -> Any:
        """The value that a JavaScript function body returns; a promise is waited for."""
        return self._send("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def command(self, name: str, parameters: dict[str, object]) -> Any:
        """A command of the browser's own debugging protocol."""
        return self._send("POST", f"{self._session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def keys(self, text: str) -> None:
        presses = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        body = {"actions": [{"type": "key", "id": "keyboard", "actions": presses}]}
        self._send("POST", f"{self._session}/actions", body)

    def console(self) -> list[str]:
        """Messages of the console since the last call."""
        entries = self._send("POST", f"{self._session}/se/log", {"type": "browser"})
        return [f"{entry['level']}: {entry['message']}" for entry in entries]

    def requests(self, page: Path) -> list[str]:
        """Addresses that a page asked for since the last call; the browser's own start page asks for many."""
        entries = self._send("POST", f"{self._session}/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        mine = page.resolve().as_uri()
        return [entry["request"]["url"] for entry in sent if entry.get("documentURL") == mine]

    def screenshot(self, target: Path, whole: bool = True) -> None:
        answer = self.command("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        target.write_bytes(base64.b64decode(answer["data"]))

    def print(self, target: Path) -> None:
        answer = self.command("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True,
                                                  "paperWidth": 8.27, "paperHeight": 11.69})  # fmt: skip
        target.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        self._send("DELETE", self._session)


def installed() -> bool:
    return bool(shutil.which("chromedriver") and (shutil.which("chromium") or shutil.which("google-chrome")))


@contextmanager
def browser(folder: Path, dark: bool = False) -> Iterator[Browser]:
    """A browser with an empty profile in `folder`; it and its driver are gone afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    profile = folder / f"profile-{port}"
    profile.mkdir(parents=True)
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}", "--log-level=OFF"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(port)
        session = Browser(port, profile, dark)
        try:
            yield session
        finally:
            session.close()
    finally:
        driver.terminate()
        driver.wait(timeout=20)


def _wait(port: int) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise TimeoutError("chromedriver does not answer")
