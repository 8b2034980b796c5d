#!/usr/bin/env python3
"""The load that the server handles, compared with a plain Flask and Keras handler of its network.

usage: python benchmarks/serve_load.py [--flask PYTHON] [--quick]
                                    (needs exports/, which `dvc repro` makes, and a test image)

For 1, 8 and 32 clients, which each keep a connection, and images of 28 and 500 pixels: requests a
second, the 50th and 99th percentile of their time, and the server's CPU time, which is meaningful
even on a busy machine. Then its memory over 20,000 requests; how it answers 200
hostile ones, how much memory that takes and what it writes to the disk; and which requests it loses
when it is told to stop under load. PYTHON is that of an environment with requirements.txt and
Flask; without it, its part is left out. Client and server share the machine's cores. Writes
benchmarks/results/serve_load.json and serve_load.md. Takes 7 minutes on two cores.
"""

import argparse
import http.client
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from hostile_requests import send_all
from machine import PROJECT, described, in_words, photograph, write

CLIENTS = (1, 8, 32)
SIDES = (28, 500)  # pixels
FLASK = """
import io, json, logging, sys
import keras, numpy as np
from flask import Flask, jsonify, request
from PIL import Image

logging.getLogger("werkzeug").setLevel(logging.ERROR)
model = keras.saving.load_model("exports/model.keras", compile=False)
training = json.load(open("exports/training.json"))
height, width, channels = training["image_shape"]
app = Flask("app")

@app.get("/health")
def health():
    return "ok"

@app.post("/predict")
def predict():
    image = Image.open(io.BytesIO(request.data)).convert("L" if channels == 1 else "RGB")
    images = np.asarray(image.resize((width, height))).reshape(1, height, width, channels)
    probabilities = model.predict_on_batch(images)[0]
    best = int(probabilities.argmax())
    names = training["class_names"]
    return jsonify({"class": names[best], "probability": float(probabilities[best])})

app.run(port=int(sys.argv[1]), threaded=True)
"""


class Server:
    """A server in a process of its own, on a free port."""

    def __init__(self, *command: str):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = tuple(part.replace("PORT", str(self.port)) for part in command)
        self.process = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL)
        while True:
            try:
                ask(self.connect(), "GET", "/health")
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"the server did not start: {command}")
                time.sleep(0.1)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def processor_seconds(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def memory(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss

    def written(self) -> int:
        """Bytes that the server has written to a disk."""
        return psutil.Process(self.process.pid).io_counters().write_bytes

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"") -> int:
    connection.request(method, path, body)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def load(server: Server, clients: int, body: bytes, seconds: float) -> dict[str, float]:
    """The answers that `clients` get which send requests without pause for `seconds`."""
    times: list[float] = []
    until = time.perf_counter() + seconds

    def client() -> None:
        connection = server.connect()
        while (begin := time.perf_counter()) < until:
            assert ask(connection, "POST", "/predict", body) == 200
            times.append(time.perf_counter() - begin)

    begin = server.processor_seconds()
    run(client, clients)
    used = server.processor_seconds() - begin
    p50, p99 = (1000 * float(np.percentile(times, share)) for share in (50, 99))
    return {
        "requests_a_second": len(times) / seconds,
        "processor_ms": 1000 * used / len(times),
        "p50_ms": p50,
        "p99_ms": p99,
    }


def run(client, clients: int) -> None:
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def stop_under_load(server: Server, body: bytes, kept: bool, clients: int = 32) -> dict[str, int]:
    """What becomes of requests that clients keep sending while the server is told to stop, each on
    its own connection or, if `kept`, on one until the server closes it: `lost` are those sent whole
    and not answered."""
    counts = {"answered": 0, "refused": 0, "lost": 0}

    def client() -> None:
        connection = server.connect()
        while True:
            if connection.sock is None:
                try:
                    connection.connect()
                except OSError:
                    counts["refused"] += 1
                    return
            try:
                ask(connection, "POST", "/predict", body)
                counts["answered"] += 1
            except (OSError, http.client.HTTPException):
                counts["lost"] += 1
                connection.close()
            if not kept:
                connection.close()

    threading.Timer(2, lambda: server.process.send_signal(signal.SIGTERM)).start()
    run(client, clients)
    server.process.wait(60)
    return counts


def memory_over(server: Server, body: bytes, requests: int) -> list[float]:
    """MB of the server's memory, at ten moments during the requests."""
    connection, marks = server.connect(), []
    for number in range(1, requests + 1):
        ask(connection, "POST", "/predict", body)
        if number % (requests // 10) == 0:
            marks.append(round(server.memory() / 1e6, 1))
    return marks


def hostile(server: Server, body: bytes, requests: int) -> dict[str, Any]:
    """The statuses of hostile requests by kind, and what these left: MB of memory before, halfway
    and after, and bytes written. Afterwards the server must answer a good one."""
    memory, written = [server.memory()], server.written()
    answers: dict[str, Counter] = {}
    for _ in range(2):  # the first half may keep memory, the second takes none
        for kind, counts in send_all(server.port, body, requests // 2).items():
            answers[kind] = answers.get(kind, Counter()) + counts
        memory.append(server.memory())
    assert ask(server.connect(), "POST", "/predict", body) == 200
    return {
        "requests": requests,
        "answers": answers,
        "memory_mb": [round(used / 1e6, 1) for used in memory],
        "written": server.written() - written,
    }


def table(content: dict[str, Any]) -> str:
    lines = [
        f"The default model, on 127.0.0.1. {in_words(content['machine'])}.",
        "",
        "| server | image | clients | requests a second | processor ms a request "
        "| 50 %, ms | 99 %, ms |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {one['server']} | {one['side']} | {one['clients']} | {one['requests_a_second']:.0f} | "
        f"{one['processor_ms']:.2f} | {one['p50_ms']:.1f} | {one['p99_ms']:.1f} |"
        for one in content["load"]
    ]
    stop, memory = content["stop"], content["memory_mb"]
    lines += [
        "",
        "Told to stop under the load of 32 clients: "
        + "; ".join(
            f"{kind}, {counts['answered']:,} requests answered, {counts['lost']} lost, "
            f"{counts['refused']} connections refused after the end"
            for kind, counts in stop.items()
        )
        + f". Memory over {content['memory_requests']:,} requests: {memory[0]} MB after a tenth, "
        f"{memory[-1]} MB at the end.",
        "",
    ]
    found = content["hostile"]
    before, half, after = found["memory_mb"]
    lines += [
        f"{found['requests']} hostile requests: memory {before} MB before, {half} MB after half of "
        f"them, {after} MB after all; {found['written']:,} bytes written to the disk.",
        "",
        "| hostile request | answers |",
        "|---|---|",
    ]
    lines += [
        f"| {kind} | {', '.join(f'{count} × {status}' for status, count in counts.items())} |"
        for kind, counts in found["answers"].items()
    ]
    lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flask", help="the Python of an environment with Flask")
    parser.add_argument("--quick", action="store_true", help="a tenth of it, to try")
    options = parser.parse_args()
    seconds, requests, attacks = (1, 2000, 20) if options.quick else (10, 20_000, 200)
    pictures = {side: photograph(side, seed=0) for side in SIDES}
    command = (sys.executable, "-m", "commands.serve", "--port", "PORT")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "app.py").write_text(FLASK)
        servers = {"serve": Server(*command)}
        if options.flask:
            servers["Flask, Keras"] = Server(options.flask, f"{folder}/app.py", "PORT")
        measured = []
        for side, body in pictures.items():
            for clients in CLIENTS:
                for name, server in servers.items():
                    load(server, clients, body, seconds / 5)
                    found = load(server, clients, body, seconds)
                    measured.append({"server": name, "side": side, "clients": clients} | found)
        for server in servers.values():
            server.end()
    server = Server(*command)
    memory = memory_over(server, pictures[500], requests)
    attacked = hostile(server, pictures[500], attacks)
    content = {
        "machine": described("fastapi", "uvicorn", "onnxruntime", "keras"),
        "load": measured,
        "stop": {
            "a connection a request": stop_under_load(server, pictures[500], kept=False),
            "connections that are kept": stop_under_load(
                Server(*command), pictures[500], kept=True
            ),
        },
        "memory_mb": memory,
        "memory_requests": requests,
        "hostile": attacked,
    }
    write("serve_load", content, table(content))


if __name__ == "__main__":
    main()
