"""`python -m commands.serve` as a client meets it: right answers, clear refusals, and no request
lost when it stops."""

import asyncio
import contextlib
import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import fastapi
import numpy as np
import psutil
import pytest
import requests
import uvicorn
from PIL import Image
from support import packages
from support.pictures import claim_size
from support.processes import eventually
from support.project import Project, copy

from commands import serve
from commands.serving import app, reading
from commands.serving.batching import Batcher
from commands.serving.reading import RequestLimits
from commands.serving.server import Connection
from commands.serving.server import Server as StoppingServer
from stages.conversion import contents
from stages.conversion.names import DIGESTS
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.storage import files

Form = list[tuple[str, tuple[str, bytes]]]
REQUEST = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"
LIMITS = {"request-bytes": 300_000, "images": 4, "pixels": 1_000_000, "seconds": 1}


class Server:
    """A server on the small project, on a port of its own."""

    def __init__(self, project: Project, *arguments: str):
        self.project = project
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        limits = [f"--{name}={value}" for name, value in LIMITS.items()]
        self.log = project.path("server.log")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "commands.serve", "--port", str(self.port), *limits, *arguments],
            cwd=project.folder,
            stdout=subprocess.DEVNULL,
            stderr=self.log.open("w"),
        )
        self.address = f"http://127.0.0.1:{self.port}"
        until = time.monotonic() + 120
        while "running on" not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def post(self, body: bytes | Iterator[bytes] = b"", **arguments: object) -> requests.Response:
        return requests.post(f"{self.address}/predict", data=body, timeout=60, **arguments)

    def form(self, files: Form) -> requests.Response:
        return requests.post(f"{self.address}/predict", files=files, timeout=60)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def server(
    finished_template: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    project = copy(finished_template, tmp_path_factory.mktemp("serve"))
    shared = Server(project)
    yield shared
    shared.end()
    assert "Traceback" not in shared.log.read_text()


def encoded(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def images(server: Server) -> list[bytes]:
    return [
        encoded(image)
        for image in np.load(server.project.path("data/prepared/test.npy"))[:40, ..., 0]
    ]


def test_health_also_answers_the_method_head(server: Server):
    answer = requests.head(f"{server.address}/health", timeout=60)
    assert (answer.status_code, answer.content) == (200, b"")


def test_concurrent_requests_get_the_classes_of_the_keras_file(server: Server, images: list[bytes]):
    name = server.project.find_selected()
    expected = np.load(server.project.path(f"models/{name}/predictions.npz"))["test"]
    with ThreadPoolExecutor(8) as threads:
        answers = [answer.json() for answer in threads.map(server.post, images)]
    names = requests.get(f"{server.address}/health", timeout=60).json()["classes"]
    for answer, probabilities in zip(answers, expected):
        (row,) = answer["images"]
        assert row["class"] == names[probabilities.argmax()]
        assert abs(row["probability"] - probabilities.max()) < 2e-6
    assert answers[0]["model"] == name
    assert f"{answers[0]['sha256']}  model.onnx" in (
        server.project.path("exports/SHA256SUMS").read_text()
    )


def test_a_form_with_several_files_is_answered_in_its_order(server: Server, images: list[bytes]):
    alone = [server.post(image).json()["images"][0] for image in images[:4]]
    paths = ["a.png", "../../b.png", "c\r\nx.png", "é" * 200]
    answer = server.form([("image", file) for file in zip(paths, images)]).json()["images"]
    assert [row["class"] for row in answer] == [row["class"] for row in alone]
    obtained, expected = ([row["probability"] for row in rows] for rows in (answer, alone))
    assert obtained == pytest.approx(expected, abs=2e-6) and len(set(expected)) == 4
    assert answer[0]["file"] == "a.png" and not server.project.path("../b.png").exists()


FORM = {"Content-Type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n\r\n'
HOSTILE = {
    "empty": (400, "no image", lambda server: server.post()),
    "text": (400, "not an image", lambda server: server.post(b"a" * 1000)),
    "bomb": (400, "pixels", lambda server: server.post(claim_size(60_000, 60_000))),
    "large": (400, "pixels", lambda server: server.post(claim_size(1200, 1200))),
    "truncated": (400, "image", lambda server: server.post(claim_size(900, 900)[:-60])),
    "long body": (413, "300,000 bytes", lambda server: server.post(bytes(400_000))),
    "no length": (
        413,
        "300,000 bytes",
        lambda server: server.post(bytes(50_000) for _ in range(9)),
    ),
    "many files": (400, "4", lambda server: server.form([("a", ("a", b"a"))] * 50)),
    "a field": (400, "-F image=@FILE", lambda server: server.post({"a": "b"}, files={"c": b"d"})),
    "no boundary": (
        400,
        "boundary",
        lambda server: server.post(b"a", headers={"Content-Type": "multipart/form-data"}),
    ),
    "broken form": (400, "form", lambda server: server.post(b"--y\r\n\r\n", headers=FORM)),
    "unfinished form": (
        400,
        "closing boundary",
        lambda server: server.post(PART % b"" + b"a", headers=FORM),
    ),
    "names in UTF-7": (
        400,
        "+2AA-: ",
        lambda server: server.post(
            PART % b"+2AA-" + b"a\r\n--x--",
            headers={"Content-Type": "multipart/form-data; charset=utf-7; boundary=x"},
        ),
    ),
    "top": (422, "top: ", lambda server: server.post(b"a", params={"top": 0})),
    "method": (405, "", lambda server: requests.delete(f"{server.address}/predict", timeout=60)),
    "address": (404, "", lambda server: requests.get(f"{server.address}/../params", timeout=60)),
}


@pytest.mark.parametrize(("status", "said", "ask"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_request_is_refused_with_the_reason(server: Server, status, said, ask):
    try:
        answer = ask(server)
    except requests.ConnectionError:  # refused before all of it was sent
        assert status == 413 and server.process.poll() is None
        return
    assert answer.status_code == status and said in answer.json()["detail"]


def test_a_body_that_never_ends_times_out_and_delays_nobody(server: Server, images: list[bytes]):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"a")
    assert server.post(images[0]).status_code == 200  # the others do not wait
    assert connection.getresponse().status == 408


def test_requests_write_nothing_and_memory_does_not_grow(server: Server, images: list[bytes]):
    def look() -> tuple[set[Path], int]:
        process = psutil.Process(server.process.pid)
        opened = {Path(file.path) for file in process.open_files()} - {server.log}
        return opened, process.memory_info().rss

    rng = np.random.default_rng(0)
    photograph = encoded(rng.integers(0, 256, (250, 250, 3), np.uint8))
    form = [("image", ("a.png", photograph))]

    def ask(rounds: int) -> None:
        for _ in range(rounds):
            assert server.post(photograph).status_code == 200
            assert server.form(form).status_code == 200

    ask(10)
    before, begin = look()
    files = {path for path in server.project.folder.rglob("*") if "__pycache__" not in path.parts}
    ask(100)
    assert look()[0] == before and look()[1] - begin < 20_000_000
    after = {path for path in server.project.folder.rglob("*") if "__pycache__" not in path.parts}
    assert after == files


def test_a_large_file_of_a_form_stays_in_memory(monkeypatch: pytest.MonkeyPatch):
    """Starlette moves files of more than 1 MB to disk."""

    def fail(_: object) -> None:
        raise AssertionError("written to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", fail)
    headers = [(name.lower().encode(), value.encode()) for name, value in FORM.items()]
    request = fastapi.Request({"type": "http", "headers": headers})
    content, limits = bytes(2_000_000), SimpleNamespace(images=1, request_bytes=3_000_000)
    form = PART % b"a.png" + content + b"\r\n--x--\r\n"
    assert asyncio.run(reading.read_form(request, form, limits)) == [("a.png", content)]


def read_metrics(server: Server) -> dict[str, float]:
    """The values of the metrics, by name and labels."""
    text = requests.get(f"{server.address}/metrics", timeout=60).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_the_server_describes_and_measures_itself(server: Server, images: list[bytes]):
    before = read_metrics(server)
    for image in images[:3]:
        server.post(image)
    after = read_metrics(server)
    for name, growth in (
        ('requests_total{status="200"}', 4),  # of the images, and the first for metrics
        ("request_seconds_count", 4),
        ("batch_images_sum", 3),
    ):
        assert after[name] - before.get(name, 0) == growth, name
    assert after["request_seconds_sum"] > before["request_seconds_sum"]
    description = requests.get(f"{server.address}/openapi.json", timeout=60).json()
    assert "image/png" in description["paths"]["/predict"]["post"]["requestBody"]["content"]


def test_an_internal_error_is_measured_too(monkeypatch: pytest.MonkeyPatch):
    async def fail(*_: object) -> None:
        raise RuntimeError

    async def ask(method: str, path: str) -> list[dict]:
        scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
        sent = []

        async def send(message: dict) -> None:
            sent.append(message)

        with contextlib.suppress(RuntimeError):  # which uvicorn would log
            await served(scope, None, send)
        return sent

    monkeypatch.setattr(app, "read_images", fail)
    training = SimpleNamespace(model="a", class_names=["b"], shape=(1, 1, 1))
    trained = SimpleNamespace(training=training, sha256="")
    served = app.make_app(trained, lambda images: images, RequestLimits())
    assert asyncio.run(ask("POST", "/predict"))[0]["status"] == 500
    assert b'requests_total{status="500"} 1.0' in asyncio.run(ask("GET", "/metrics"))[1]["body"]


def test_requests_half_sent_are_answered_when_the_server_stops(
    finished: Project, images: list[bytes]
):
    """No request that the server has partly read is lost."""
    server = Server(finished, "--seconds=60")
    connections = []
    for image in images[:10]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", str(len(image)))
        connection.endheaders(image[:-1])
        connections.append(connection)
    assert server.post(images[0]).status_code == 200  # by now the others have been accepted
    ended = threading.Thread(target=server.end)
    ended.start()
    eventually(lambda: "Shutting down" in server.log.read_text())
    for connection, image in zip(connections, images):
        connection.send(image[-1:])
    assert [connection.getresponse().status for connection in connections] == [200] * 10
    ended.join()
    assert "Traceback" not in server.log.read_text()
    with pytest.raises(requests.ConnectionError):
        server.post(images[0])


async def start(app: Callable, lifespan: Literal["on", "off"], **options: Any) -> StoppingServer:
    """A server of an ASGI application, in this process."""
    config = uvicorn.Config(app, port=0, lifespan=lifespan, **options)
    config.load()
    server = StoppingServer(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    return server


def test_a_second_ctrl_c_ends_the_application_too():
    """Otherwise the end of the process would cancel it with a traceback."""
    told = []

    async def app(scope, receive, send):
        for _ in range(2):
            told.append((await receive())["type"])
            await send({"type": f"{told[-1]}.complete"})

    async def stop() -> None:
        server = await start(app, "on")
        server.force_exit = True
        await server.shutdown()

    asyncio.run(stop())
    assert told == ["lifespan.startup", "lifespan.shutdown"]


def test_requests_sent_before_the_server_stops_are_answered():
    """On connections that wait to be accepted, and on one accepted before it sent anything."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def answers() -> list[bytes]:
        server = await start(app, "off")
        address = server.servers[0].sockets[0].getsockname()
        silent = socket.create_connection(address)
        while not server.server_state.connections:
            await asyncio.sleep(0.01)
        # the event loop is blocked, so that these wait to be accepted
        waiting = [socket.create_connection(address) for _ in range(10)]
        for connection in waiting:
            connection.sendall(REQUEST)
        stopping = asyncio.create_task(server.shutdown())
        await asyncio.sleep(0)
        silent.sendall(REQUEST)
        await stopping
        return [connection.recv(1000) for connection in (silent, *waiting)]

    for answer in asyncio.run(answers()):
        assert answer.startswith(b"HTTP/1.1 204") and b"connection: close" in answer


def test_only_an_excess_connection_is_refused_and_a_silent_one_is_closed():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def ask(connection: socket.socket) -> bytes:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, REQUEST)
        return await loop.sock_recv(connection, 12)

    async def connect(server: StoppingServer, number: int) -> socket.socket:
        opened = socket.create_connection(server.servers[0].sockets[0].getsockname())
        opened.setblocking(False)
        while len(server.server_state.connections) < number:
            await asyncio.sleep(0.01)
        return opened

    async def answers() -> list[bytes]:
        server = await start(app, "off", http=Connection, limit_concurrency=1)
        first, second = await connect(server, 1), await connect(server, 2)
        received = [await ask(second), await ask(first)]
        server.config.timeout_keep_alive = 0
        silent = socket.create_connection(server.servers[0].sockets[0].getsockname())
        silent.setblocking(False)
        received.append(await asyncio.get_running_loop().sock_recv(silent, 12))
        await server.shutdown()
        return received

    assert asyncio.run(answers()) == [b"HTTP/1.1 503", b"HTTP/1.1 204", b""]


@pytest.mark.parametrize(("option", "value"), [("--port", "0"), ("--seconds", "inf")])
def test_a_value_out_of_bounds_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, option: str, value: str
):
    monkeypatch.setattr(sys, "argv", ["serve", option, value])
    with pytest.raises(SystemExit, match="2"):
        cli.run(lambda **_: None, "", serve.add_options)
    assert f"{option}: '{value}' is not" in capsys.readouterr().err


def test_a_model_that_does_not_exist_is_named(
    finished_template: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished_template.folder)
    with pytest.raises(UserError, match="'no-such'"):
        serve.main("no-such", "127.0.0.1", 8000, None, int8=False, refuse=False)


def test_answers_below_the_chosen_confidence_are_refused(finished: Project, images: list[bytes]):
    output = finished.command("serve", "--refuse", status=1)
    assert "no confidence was chosen" in output and "export.accepted_accuracy" in output
    exports = finished.path("exports")
    metrics = json.loads((exports / "metrics.json").read_text())
    expected = np.load(finished.path(f"models/{metrics['model']}/predictions.npz"))["test"][:40]
    lower, upper = np.sort(expected.max(axis=1))[[19, 20]]
    confidence = float(lower + upper) / 2
    files.write_json(exports / "metrics.json", metrics | {"refusal": {"confidence": confidence}})
    (exports / DIGESTS).unlink()
    contents.write_digests(exports)
    server = Server(finished, "--refuse")
    try:
        rows = [server.post(image).json()["images"][0] for image in images]
    finally:
        server.end()
    assert [row["class"] is None for row in rows] == list(expected.max(axis=1) < confidence)


def test_a_port_in_use_is_named(finished: Project, server: Server):
    output = finished.command("serve", "--port", str(server.port), status=1)
    assert f"error: the server cannot listen on 127.0.0.1:{server.port}" in output
    assert "address already in use" in output and "Traceback" not in output


def test_a_host_that_no_machine_can_have_is_named(finished: Project):
    assert "--host: '127..0.1'" in finished.command("serve", "--host", "127..0.1", status=1)


def predict_together(
    compute: Callable[[np.ndarray], np.ndarray], count: int
) -> tuple[list[float | Exception], list[int]]:
    """The answers to `count` images that wait together, whose pixels are their numbers, and the
    sizes of the batches, which hold at most two."""
    sizes: list[int] = []

    async def ask() -> list[float | Exception]:
        batcher = Batcher(compute, 2, sizes.append)
        waiting = [
            asyncio.create_task(batcher.predict(np.full((1, 1, 1), number, np.uint8)))
            for number in range(count)
        ]
        running = asyncio.create_task(batcher.run())
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*waiting, return_exceptions=True)
        running.cancel()
        return [answer if isinstance(answer, Exception) else answer.item() for answer in answers]

    return asyncio.run(ask()), sizes


def test_waiting_images_are_predicted_together_up_to_the_limit():
    answers, sizes = predict_together(lambda images: images / 2, 5)
    assert answers == [0, 0.5, 1, 1.5, 2] and sizes == [2, 2, 1]


def test_a_batch_that_cannot_be_computed_fails_alone():
    def compute(images: np.ndarray) -> np.ndarray:
        if images.min() == 0:
            raise MemoryError
        return images

    (first, second, third), sizes = predict_together(compute, 3)
    assert isinstance(first, MemoryError) and isinstance(second, MemoryError)
    assert third == 2 and sizes == [2, 1]


def test_a_client_that_goes_while_its_image_is_computed_stops_no_other():
    async def ask() -> float:
        begun, may_end = asyncio.Event(), threading.Event()

        def compute(images: np.ndarray) -> np.ndarray:
            may_end.wait(60)
            return images

        batcher = Batcher(compute, 1, lambda _: begun.set())
        running = asyncio.create_task(batcher.run())
        gone = asyncio.create_task(batcher.predict(np.zeros((1, 1, 1), np.uint8)))
        await begun.wait()
        gone.cancel()
        may_end.set()
        async with asyncio.timeout(60):
            answer = await batcher.predict(np.ones((1, 1, 1), np.uint8))
        running.cancel()
        return answer.item()

    assert asyncio.run(ask()) == 1


def test_the_server_needs_no_package_but_those_of_the_docker_image(
    finished: Project, images: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", packages.hide_all_but_served(tmp_path / "hiding"))
    server = Server(finished)
    try:
        assert server.post(images[0]).status_code == 200
        assert requests.get(f"{server.address}/metrics", timeout=60).status_code == 200
    finally:
        server.end()
