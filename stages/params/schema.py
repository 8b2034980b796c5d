"""The schema of ``params.yaml``, section by section; the comments in the file itself explain the
keys."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from stages.params.families import Architecture
from stages.params.fields import (
    ADDRESS,
    FULL_PATH,
    ClassName,
    Count,
    Line,
    Name,
    Rate,
    Section,
    Seed,
    one_line,
    one_of,
)
from stages.params.recipe import Train
from stages.runtime.text import LONGEST_PATH


class Source(Section):
    source: Annotated[one_line(LONGEST_PATH), FULL_PATH]
    # only for an .npz file without names
    class_names: Annotated[list[ClassName], Field(min_length=2)] | None = None
    licence: Line | None = None  # for the data card; data/official/NAME.yaml has its own


class Limits(Section):
    """Upper limits on the content of an archive, a folder or an array."""

    files: Count
    file_bytes: Count
    total_bytes: Count
    pixels: Count


class Download(Section):
    mirror: Annotated[str, ADDRESS] | None
    timeout: Annotated[float, Field(gt=0, le=1e6)]
    retries: Annotated[int, Field(ge=0, le=100)]
    backoff: Annotated[float, Field(ge=0, le=1e6)]
    channels: Literal[1, 3]
    on_bad_image: one_of("error", "skip")
    limits: Limits


def check_test_part(value: Any) -> Any:
    if value != "validation" and not (isinstance(value, float) and 0 < value < 1):
        raise PydanticCustomError(
            "test_part", "It must be a fraction between 0 and 1, or validation"
        )
    return value


class Split(Section):
    method: one_of("stratified", "last", "directory", "test", "training")
    validation: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[Any, BeforeValidator(check_test_part)]
    deduplicate: bool
    limit_train: Count | None
    limit_validation: Count | None
    limit_test: Count | None


class Preprocess(Section):
    image_size: Count | None
    interpolation: one_of("nearest", "box", "bilinear", "bicubic", "lanczos")
    aspect: one_of("stretch", "crop", "pad")
    pad_value: Annotated[int, Field(ge=0, le=255)]
    channels: Literal[1, 3] | None
    normalisation: one_of("unit", "unit_twice", "symmetric", "standard", "none")


class Augment(Section):
    horizontal_flip: bool
    vertical_flip: bool
    rotation: Annotated[float, Field(ge=0, le=180)]
    zoom: Rate
    width_shift: Rate
    height_shift: Rate
    shear: Annotated[float, Field(ge=0, le=45)]
    crop_padding: Annotated[int, Field(ge=0)]
    fill_mode: one_of("nearest", "reflect", "wrap", "constant")


class Evaluate(Section):
    top_k: Annotated[int, Field(ge=2)]
    calibration_bins: Count


class Compare(Section):
    select: one_of("fewest_parameters", "best_validation_accuracy")
    within_standard_errors: Annotated[float, Field(ge=0)]


class Export(Section):
    accepted_accuracy: Annotated[float, Field(gt=0, le=1)] | None
    int8_fall: Annotated[float, Field(ge=0, le=1)] | None


class Verify(Section):
    accuracy_tolerance: Annotated[float, Field(ge=0, le=1)]


class Recheck(Section):
    batches: Count
    epochs: Annotated[int, Field(ge=2)]
    patience: Count
    validation_images: Count
    pixels: Count


class Review(Section):
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)]


class Gate(Section):
    selected_fall: Annotated[float, Field(ge=0)] | None
    calibration_error: Annotated[float, Field(ge=0, le=1)] | None
    int8_fall: Annotated[float, Field(ge=0, le=1)] | None
    replications: bool


class Resources(Section):
    memory: Annotated[float, Field(gt=0)] | None
    gpu: Annotated[int, Field(ge=0)]


class Parallel(Section):
    resources: dict[str, Resources]
    beyond: list[str]
    here: list[str]


class Params(Section):
    """The whole of ``params.yaml``."""

    seed: Seed
    dataset: str
    datasets: dict[Name, Source]
    download: Download
    split: Split
    preprocess: Preprocess
    augment: Augment
    models: Annotated[list[str], Field(min_length=1)]
    train: Train
    tensorboard: bool = False
    architectures: dict[Name, Architecture]
    evaluate: Evaluate
    compare: Compare
    export: Export
    verify: Verify
    recheck: Recheck
    review: Review
    gate: Gate
    parallel: Parallel
