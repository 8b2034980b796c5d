"""A headless Chromium without a network, driven through a pipe by the DevTools protocol
(https://chromedevtools.github.io)."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--proxy-server=127.0.0.1:9",
    "--remote-debugging-pipe",
]
TROUBLE = (
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
    "Log.entryAdded",
    "Network.loadingFailed",
)


class Browser:
    """One page. `trouble` lists what the console says, uncaught errors, and
    requests that failed."""

    def __init__(self, profile: Path):
        read, self.to = os.pipe()
        self.source, write = os.pipe()
        command = [
            "bash",
            "-c",
            f'exec "$@" 3<&{read} 4>&{write}',
            "bash",
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={profile}",
        ]
        self.process = subprocess.Popen(command, pass_fds=(read, write), stderr=subprocess.DEVNULL)
        os.close(read)
        os.close(write)
        self.number, self.pending, self.session, self.trouble = 0, b"", {}, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = {
            "sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)[
                "sessionId"
            ]
        }
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.terminate()
        self.process.wait(20)

    def message(self) -> dict[str, Any]:
        while b"\0" not in self.pending:
            content = os.read(self.source, 1 << 20)
            assert content, "Chromium ended"
            self.pending += content
        message, _, self.pending = self.pending.partition(b"\0")
        return json.loads(message)

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        self.number += 1
        request = {"id": self.number, "method": method, "params": arguments, **self.session}
        os.write(self.to, json.dumps(request).encode() + b"\0")
        while (answer := self.message()).get("id") != self.number:
            if answer.get("method") in TROUBLE:
                self.trouble.append(json.dumps(answer["params"])[:500])
        assert "error" not in answer, answer
        return answer["result"]

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)[
            "result"
        ].get("value")

    def open(
        self, address: str, width: int, drawn: str, seconds: float = 60, dark: bool = False
    ) -> None:
        """Open a page in a window of `width` pixels, and wait until the
        expression `drawn` is true."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = "dark" if dark else "light"
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        end = time.monotonic() + seconds
        while not self.value(f"document.readyState === 'complete' && ({drawn})"):
            assert time.monotonic() < end, (
                f"{address} is not drawn after {seconds} s: {self.trouble}"
            )
            time.sleep(0.1)

    def picture(self, path: Path) -> None:
        """Save the whole page as PNG."""
        path.write_bytes(
            base64.b64decode(
                self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
            )
        )
