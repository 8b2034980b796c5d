"""The FastAPI application."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Annotated

import prometheus_client
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from commands.predicting import pictures
from commands.predicting.trained import Trained
from commands.serving.batching import Batcher
from commands.serving.measuring import MeasuringMiddleware, Metrics
from commands.serving.reading import FORM, RequestLimits, read_images
from stages.conversion.checking import Predict
from stages.images.decode import FORMATS, BadImage
from stages.runtime.processor import count_cores

IMAGE = {"schema": {"type": "string", "format": "binary"}}
BODY = {
    "required": True,
    "content": {
        **{f"image/{name.lower()}": IMAGE for name in FORMATS},
        "application/octet-stream": IMAGE,
        FORM: {
            "schema": {
                "type": "object",
                "properties": {"image": {"type": "array", "items": IMAGE["schema"]}},
            }
        },
    },
}


class Candidate(BaseModel):
    """A class and its probability."""

    name: str = Field(alias="class")
    probability: float


class Classified(BaseModel):
    """An image's most probable class, null if it is refused, and the runners-up."""

    file: str
    name: str | None = Field(alias="class")
    probability: float
    runners_up: list[Candidate]


class Answer(BaseModel):
    """The classes of all images in a request, in order."""

    model: str
    sha256: str  # of the model's file
    images: list[Classified]


class Fault(BaseModel):
    """What is wrong with a request, in a sentence."""

    detail: str


class Health(BaseModel):
    """The model that is served."""

    model: str
    sha256: str
    classes: list[str]


FAULTS = {status: {"model": Fault} for status in (400, 408, 413, 422)}


class Service:
    """Classifies the content of image files with a model: decodes in parallel, predicts in
    batches."""

    def __init__(
        self,
        trained: Trained,
        predict: Predict,
        limits: RequestLimits,
        confidence: float,
        metrics: Metrics,
    ):
        self.training, self.limits, self.confidence = trained.training, limits, confidence
        batch_size = pictures.choose_batch_size(self.training)
        self.batcher = Batcher(predict, batch_size, metrics.batches.observe)
        self.decoders = ThreadPoolExecutor(count_cores(), "decode")

    async def classify(self, name: str, content: bytes, top: int) -> pictures.Row:
        """The row of an image. Raises `HTTPException`."""
        loop = asyncio.get_running_loop()
        arguments = (content, self.training, self.limits.pixels, "of this server")
        try:
            image = await loop.run_in_executor(self.decoders, pictures.prepare_content, *arguments)
        except BadImage as error:
            raise HTTPException(400, f"{name}: {error}") from None
        except MemoryError:
            raise HTTPException(413, f"{name}: not enough memory for it") from None
        probabilities = await self.batcher.predict(image)
        names = self.training.class_names
        row = pictures.make_row(name, probabilities, names, top, self.confidence)
        if isinstance(row, str):
            raise HTTPException(500, row)
        return row


def make_app(
    trained: Trained, predict: Predict, limits: RequestLimits, confidence: float = 0.0
) -> ASGIApp:
    """The application that serves a model, with metrics; answers below `confidence` are refused."""
    metrics = Metrics()
    service = Service(trained, predict, limits, confidence, metrics)
    identity = {"model": trained.training.model, "sha256": trained.sha256}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(service.batcher.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    app = FastAPI(
        title=f"Image classification: {trained.training.model}",
        version="1",
        lifespan=lifespan,
        redoc_url=None,
    )

    @app.exception_handler(RequestValidationError)
    async def explain(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}"}, 422)

    @app.post("/predict", responses=FAULTS, openapi_extra={"requestBody": BODY})
    async def predict_images(
        request: Request, top: Annotated[int, Query(ge=1, description="classes per image")] = 3
    ) -> Answer:
        """Classify an image, or the files of a form."""
        images = await read_images(request, limits)
        rows = await asyncio.gather(
            *(service.classify(name, content, top) for name, content in images)
        )
        return Answer(**identity, images=[Classified(**row) for row in rows])

    @app.get("/health")
    @app.head("/health", include_in_schema=False)  # as some load balancers ask
    async def describe_model() -> Health:
        """Which model is served."""
        return Health(**identity, classes=trained.training.class_names)

    @app.get("/metrics", response_class=Response)
    async def read_metrics() -> Response:
        """Requests, durations and batches, in the Prometheus format."""
        content = prometheus_client.generate_latest(metrics.registry)
        return Response(content, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return MeasuringMiddleware(app, metrics)  # outermost, to count answers of 500 as well
