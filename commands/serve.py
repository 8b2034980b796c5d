"""Serve a trained model over HTTP: images in, classes out. What the stage export wrote is run by
ONNX Runtime, any other model by Keras.

    POST /predict    an image as the body, or several as files of multipart/form-data; JSON back:
                     for each its class, probability and runners-up; and the model's digest
    GET /health      which model is served
    GET /metrics     requests, times and batches, for Prometheus
    GET /docs        a page to try it on (it loads its JavaScript from the internet);
                     /openapi.json is the description

A request that is refused is answered by a status below 500 and a sentence. Nothing is written. On
SIGTERM or Ctrl-C no further connection is taken, and what has begun is answered. Authentication and
TLS are left to the proxy in front.
"""

import argparse

import numpy as np
import uvicorn

from commands.predicting import network, trained
from commands.serving.app import make_app
from commands.serving.reading import Limits
from commands.serving.server import Connection, Server
from stages.runtime import cli
from stages.runtime.errors import UserError

ENDING = 30  # seconds for what has begun, once the server is told to stop


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    limits = Limits()
    whole = cli.number(int, 1)
    for name, kind, default, text in (
        ("--model", str, None, "a model below models/, or a folder; without it, the selected one"),
        ("--host", str, "127.0.0.1", "address to listen on; 0.0.0.0: all"),
        ("--port", cli.number(int, 1, 65535), 8000, "port to listen on"),
        ("--threads", whole, None, "threads of ONNX Runtime; without it, one per core"),
        ("--request-bytes", whole, limits.request_bytes, "bytes in a request at most"),
        ("--images", whole, limits.images, "images in a request at most"),
        ("--pixels", whole, limits.pixels, "pixels in an image at most"),
        ("--seconds", cli.number(float, 0.001), limits.seconds, "seconds for a request to arrive"),
        ("--connections", whole, limits.connections, "connections; others are answered 503"),
    ):
        text += "" if default is None else " (%(default)s)"
        parser.add_argument(name, type=kind, default=default, help=text)
    parser.add_argument(
        "--int8", action="store_true", help="run the network in 8-bit integers that was exported"
    )
    parser.add_argument(
        "--refuse",
        action="store_true",
        help="give no class (null) below the confidence that export.accepted_accuracy chose",
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
    first = predict(np.zeros((1, *chosen.training.shape), np.uint8))  # ready for the first request
    if not np.isfinite(first).all():
        raise UserError(f"{chosen.file} gives probabilities that are no numbers (NaN)")
    bounds = Limits(**limits)
    config = uvicorn.Config(
        make_app(chosen, predict, bounds, confidence),
        host=host,
        port=port,
        http=Connection,
        ws="none",
        access_log=False,
        server_header=False,
        limit_concurrency=bounds.connections,
        timeout_graceful_shutdown=ENDING,
    )
    server = Server(config)
    try:
        server.run()
    except KeyboardInterrupt:  # which uvicorn raises again, once it has ended
        pass
    except SystemExit:
        if server.started:
            raise
        # uvicorn has logged why
        raise UserError(f"the server cannot listen on {host}:{port}: see above") from None


def start() -> None:
    """The command `serve`."""
    cli.run(main, __doc__, add_options)


if __name__ == "__main__":
    start()
