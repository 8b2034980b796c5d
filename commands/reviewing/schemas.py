"""What the review reads of each file, with types. The files come from a pull request, so they are
validated before anything is computed or shown."""

from typing import Annotated

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

Number = Annotated[float, Field(allow_inf_nan=False)]
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,199}$")]  # names a folder too


class Test(TypedDict):
    expected_calibration_error: Number


class Metrics(TypedDict):
    test: Test


class Int8Accuracy(TypedDict):
    float32: Number
    int8: Number


class Int8(TypedDict):
    test: Int8Accuracy


class Exported(TypedDict, total=False):
    int8: Int8


class Family(TypedDict):
    family: str


class Parameters(TypedDict):
    total: Annotated[int, Field(ge=1)]


class Training(TypedDict):
    class_names: list[str]
    architecture: Family
    parameters: Parameters


class Selection(TypedDict):
    selected: ModelName


class Deviation(TypedDict):
    sd: Annotated[Number, Field(ge=0)]


class Measured(TypedDict):
    family: str
    parameters: Annotated[int, Field(ge=1)]
    test_accuracy: Deviation


class SeedSpread(TypedDict):
    measured_on: dict[str, str]
    n: Annotated[int, Field(ge=2)]
    models: Annotated[dict[ModelName, Measured], Field(min_length=1)]


SCHEMAS = {  # required content of JSON files; extra keys are allowed
    "metrics.json": TypeAdapter(Metrics),
    "training.json": TypeAdapter(Training),
    "selection.json": TypeAdapter(Selection),
    "seed_spread.json": TypeAdapter(SeedSpread),
    "export.json": TypeAdapter(Exported),
    "reports/metrics.json": TypeAdapter(dict[ModelName, dict[str, Number]]),  # of all models
}
COLUMNS = {  # required columns of tables
    "predictions.csv": {"actual", "predicted"},
    "curves.csv": {"epoch", "part", "accuracy", "loss"},
    "table.csv": {"experiment", "verdict"},
}
