"""Serve a trained model over HTTP: images in, classes out. Exported models run in ONNX Runtime,
others in Keras.

    POST /predict    an image as the body, or several as files of multipart/form-data; returns JSON:
                     each image's class, probability and runners-up; and the model's digest
    GET /health      which model is served
    GET /metrics     requests, durations and batches, for Prometheus
    GET /docs        a page to try it out (it loads its JavaScript from the internet);
                     /openapi.json is the OpenAPI description

A bad request is answered with a status below 500 and a sentence. Nothing is written to disk. On
SIGTERM or Ctrl-C the server takes no new connections and finishes the requests in progress.
Authentication and TLS are left to a reverse proxy.
"""

import argparse

import numpy as np
import uvicorn

from commands.predicting import network, trained
from commands.serving.app import make_app
from commands.serving.reading import RequestLimits
from commands.serving.server import Connection, Server
from stages.runtime import cli
from stages.runtime.errors import UserError

GRACEFUL_SHUTDOWN = 30  # seconds for requests in progress, once the server is told to stop


def add_options(parser: argparse.ArgumentParser) -> None:
    limits = RequestLimits()
    positive = cli.number_between(int, 1)
    for name, kind, default, text in (
        ("--model", None, None, "a model below models/, or a model's folder (default: selected)"),
        ("--host", None, "127.0.0.1", "address to listen on; 0.0.0.0: all"),
        ("--port", cli.number_between(int, 1, 65535), 8000, "port to listen on"),
        (
            "--threads",
            cli.number_between(int, 1, 1024),
            None,
            "of ONNX Runtime (default: one per core)",
        ),
        ("--request-bytes", positive, limits.request_bytes, "maximum bytes per request"),
        ("--images", positive, limits.images, "maximum images per request"),
        ("--pixels", positive, limits.pixels, "maximum pixels per image"),
        (
            "--seconds",
            cli.number_between(float, 0.001),
            limits.seconds,
            "seconds for a request to arrive",
        ),
        ("--connections", positive, limits.connections, "maximum connections; others get a 503"),
    ):
        text += "" if default is None else " (default: %(default)s)"
        parser.add_argument(name, type=kind, default=default, help=text)
    parser.add_argument(
        "--int8", action="store_true", help="run the network that was exported in 8-bit integers"
    )
    parser.add_argument(
        "--refuse",
        action="store_true",
        help="give no class (null) below the confidence chosen by export.accepted_accuracy",
    )


def main(
    model: str | None,
    host: str,
    port: int,
    threads: int | None,
    int8: bool,
    refuse: bool,
    **limits: float,
) -> None:
    chosen = trained.open_model(model, int8)
    confidence = trained.read_confidence(chosen) if refuse else 0.0
    predict = network.start(chosen, threads)
    # warm up, so that the first request is fast
    probabilities = predict(np.zeros((1, *chosen.training.shape), np.uint8))
    if not np.isfinite(probabilities).all():
        raise UserError(f"{chosen.file} predicts NaN instead of probabilities")
    request_limits = RequestLimits(**limits)
    config = uvicorn.Config(
        make_app(chosen, predict, request_limits, confidence),
        host=host,
        port=port,
        http=Connection,
        ws="none",
        access_log=False,
        server_header=False,
        limit_concurrency=request_limits.connections,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN,
    )
    server = Server(config)
    try:
        server.run()
    except KeyboardInterrupt:  # which uvicorn raises again after its shutdown
        pass
    except SystemExit:
        if server.started:
            raise
        # uvicorn has logged why
        raise UserError(f"the server cannot listen on {host}:{port}: see above") from None
    except UnicodeError:  # of socket.getaddrinfo, for an empty or very long part of a name
        raise UserError(f"--host: {host!r} is not the name or address of a machine") from None


def start() -> None:
    """The command `serve`."""
    cli.run(main, __doc__, add_options)


if __name__ == "__main__":
    start()
