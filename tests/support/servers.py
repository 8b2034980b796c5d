"""A web server on this machine that misbehaves in the ways that servers and networks do."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stages.sources.transfer import CHUNK
from support.example import load_example

CONTENT = bytes(range(256)) * 1000
CUT = 5 * CHUNK  # bytes after which a faulty transfer breaks off
ENDLESS = (
    "endless",
    "endless, announced",
    "endless redirect",
    "endless drip",
    "endless drip of headers",
    "endless trailers",
)
OPTIONS = load_example().download.model_copy(update={"retries": 2, "backoff": 0.0})
IMPATIENT = OPTIONS.model_copy(update={"timeout": 0.5})  # for servers that send nothing, or little


class Server(ThreadingHTTPServer):
    """Answers the first requests as planned, one behaviour each, and later ones well. Records the
    path and Range of each."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan, self.seen, self.ranges, self.done = [], [], True, threading.Event()
        self.sent = 0  # bytes of endless answers

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Range")))
        behaviour = self.server.plan.pop(0) if self.server.plan else "well"
        if isinstance(behaviour, int):
            self.send_error(behaviour)
            return
        if behaviour in ("redirect", "redirect to nowhere"):
            self.send_response(302)
            self.send_header("Location", "/elsewhere" if behaviour == "redirect" else "http://[")
            self.end_headers()
            return
        if behaviour in ENDLESS:
            self.endless(behaviour)
            return
        start = (
            int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if self.headers["Range"] and self.server.ranges
            else 0
        )
        if start >= len(CONTENT):
            self.send_error(416)
            return
        content = (
            (b"other" * len(CONTENT))[: len(CONTENT)] if behaviour == "other content" else CONTENT
        )
        self.send_response(206 if start else 200)
        if start:
            first = start + 1 if behaviour == "wrong range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        length = "²" if behaviour == "odd length" else len(content) - start
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if behaviour in ("cut", "stall", "cut early"):
            self.wfile.write(content[start : start + (100 if behaviour == "cut early" else CUT)])
            self.wfile.flush()
            if behaviour == "stall":
                self.server.done.wait(5)
            return
        self.wfile.write(content[start:])

    def endless(self, behaviour: str) -> None:
        """Send endlessly, fast or a byte at a time, until the client hangs up. The server counts
        the bytes."""
        self.send_response(302 if "redirect" in behaviour else 200)
        self.send_header("Location", "/elsewhere")
        if "trailers" in behaviour:
            self.send_header("Transfer-Encoding", "chunked")
        if "announced" in behaviour:
            self.send_header("Content-Length", "100000000000")
        if "headers" in behaviour:
            self.wfile.write(b"".join(self._headers_buffer))
        else:
            self.end_headers()
        content = b"x" if "drip" in behaviour else CONTENT
        if "trailers" in behaviour:
            self.wfile.write(b"5\r\nbegin\r\n0\r\n")
            content = b"a: b\r\n"
        try:
            while not self.server.done.wait(0.02 if "drip" in behaviour else 0):
                self.wfile.write(content)
                self.server.sent += len(content)
        except OSError:
            pass
