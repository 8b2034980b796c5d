"""What predict reads of the files of a trained model, and of ``params.yaml``; extra keys are
allowed."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from stages.params.fields import Name
from stages.params.schema import Limits, Preprocess

MAX_SIDE = 4096  # pixels of an image as the network takes it
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Channels = Literal[1, 3]


class Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class File(Part):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Train(Part):
    threads: Annotated[int, Field(ge=1, le=1024)]
    instruction_set: Literal["avx512", "avx2"] = "avx512"  # missing in old models


class Training(Part):
    """training.json: name, classes, how to prepare an image, and which file it describes."""

    model: Name
    class_names: Annotated[list[str], Field(min_length=1)]
    # height, width and channels of an image as the network takes it
    shape: Annotated[tuple[Side, Side, Channels], Field(alias="image_shape")]
    decoded_channels: Channels
    preprocess: Preprocess
    train: Train
    file: File


class Refusal(Part):
    confidence: Annotated[float, Field(ge=0, le=1)]


class Int8(Part):
    refusal: Refusal | None = None


class Metrics(Part):
    """metrics.json of an exported model."""

    refusal: Refusal | None = None
    int8: Int8 = Int8()


class Download(Part):
    limits: Limits


class Parameters(Part):
    """params.yaml."""

    download: Download
