"""The schema of ``params.yaml``, section by section; the comments in the file itself explain the
keys."""

import difflib
import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from stages.params.names import (
    ACROSS,
    ACTIVATIONS,
    APPLICATIONS,
    LAYERS,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    SECOND_NAMES,
)
from stages.runtime.text import LONGEST_LINE, LONGEST_NAME, LONGEST_PATH, name_fault
from stages.training.in_epochs import IN_EPOCHS


def suggest(name: Any, allowed: Iterable[str]) -> str:
    """What to write instead of `name`: the nearest of the allowed names, and all of them."""
    allowed = list(allowed)
    lower = {one.lower(): one for one in allowed}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1)
    return (f"Did you mean {lower[near[0]]}? " if near else "") + f"Allowed: {', '.join(allowed)}"


def one_of(*allowed: str) -> Any:
    """The type of a text out of `allowed`."""

    def check(value: Any) -> Any:
        if value not in allowed:
            raise PydanticCustomError("one_of", "{text}", {"text": suggest(value, allowed)})
        return value

    return Annotated[str, BeforeValidator(check)]


Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]


def check_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{,99}", name):
        text = "A name here has at most 100 of a to z, 0 to 9, - and _, and begins with neither"
        if "." in name:
            text += "; DVC would look for what is behind a dot one level deeper"
        raise PydanticCustomError("name", "{text}", {"text": text})
    return name


# becomes the name of a folder and of a DVC stage
Name = Annotated[str, AfterValidator(check_name)]


def one_line(longest: int) -> Any:
    """The type of a line of printable text, at most `longest` bytes long; see
    `stages.runtime.text`."""

    def check(value: str) -> str:
        if fault := name_fault(value, longest):
            raise PydanticCustomError("one_line", "It {fault}", {"fault": fault})
        return value

    return Annotated[str, AfterValidator(check)]


ClassName = one_line(LONGEST_NAME)
Line = one_line(LONGEST_LINE)


def one_or_list(kind: Any) -> Any:
    """The type of one value for all blocks, or a list with one a block."""
    which = Discriminator(lambda value: "[list]" if isinstance(value, list) else "[one]")
    return Annotated[Annotated[kind, Tag("[one]")] | Annotated[list[kind], Tag("[list]")], which]


def exactly(length: int, kind: Any) -> Any:
    """The type of a list of `length` values."""
    return Annotated[list[kind], Field(min_length=length, max_length=length)]


class Section(BaseModel):
    """A part of ``params.yaml``: keys without a default here are required, unknown keys are
    refused, and types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Source(Section):
    # nobody expands a ~ here
    source: Annotated[one_line(LONGEST_PATH), Field(pattern=r"^[^~]")]
    # of an .npz file without names; else absent
    class_names: Annotated[list[ClassName], Field(min_length=2)] | None = None
    licence: Line | None = None  # for the data card; a publisher's file says its own


class Limits(Section):
    """What an archive, a folder or an array may hold at most."""

    files: Count
    file_bytes: Count
    total_bytes: Count
    pixels: Count


class Download(Section):
    mirror: Annotated[str, Field(pattern=r"^https?://")] | None
    timeout: Annotated[float, Field(gt=0)]
    retries: Annotated[int, Field(ge=0)]
    backoff: Annotated[float, Field(ge=0)]
    channels: Literal[1, 3]
    on_bad_image: one_of("error", "skip")
    limits: Limits


def fraction_or_validation(value: Any) -> Any:
    if value != "validation" and not (isinstance(value, float) and 0 < value < 1):
        raise PydanticCustomError(
            "test_part", "It must be a fraction between 0 and 1, or validation"
        )
    return value


class Split(Section):
    method: one_of("stratified", "last", "directory", "test", "training")
    validation: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[Any, BeforeValidator(fraction_or_validation)]
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


class EarlyStopping(Section):
    monitor: one_of("val_accuracy", "val_loss", "accuracy", "loss")
    patience: Annotated[int, Field(ge=0)] | None
    restore_best: one_of("always", "when_stopped", "never")


def is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


class Train(Section):
    optimizer: one_of(*OPTIMIZERS)
    learning_rate: Annotated[float, Field(gt=0)] | None
    optimizer_arguments: dict[str, bool | int | float | None]
    schedule: one_of(*SCHEDULES) | None
    schedule_arguments: dict[str, bool | int | float | None | list[int | float]]
    loss: one_of(*LOSSES)
    loss_arguments: dict[str, bool | int | float | str | None | list[int | float]]
    batch_size: Count
    epochs: Count
    early_stopping: EarlyStopping
    class_weight: one_of("none", "balanced")
    calibration: one_of("none", "temperature")
    precision: one_of("float32", "mixed_bfloat16", "mixed_float16")
    prediction_batch_size: Count
    threads: Count
    instruction_set: one_of("avx512", "avx2")

    @model_validator(mode="after")
    def one_learning_rate(self) -> "Train":
        if self.schedule and self.learning_rate is not None:
            raise ValueError(
                "learning_rate must be empty when a schedule is given: the schedule's arguments "
                "set it"
            )
        if self.schedule_arguments and not self.schedule:
            raise ValueError("schedule_arguments are given, and no schedule")
        if "learning_rate" in self.optimizer_arguments:
            raise ValueError("learning_rate has a key of its own, outside optimizer_arguments")
        if self.optimizer_arguments.get("use_ema") and self.early_stopping.restore_best != "never":
            raise ValueError(
                "optimizer_arguments.use_ema averages the weights, and early_stopping.restore_best "
                "would put those of one epoch in their place: set that to never"
            )
        return self

    @field_validator("loss_arguments")
    @classmethod
    def numbers_are_no_text(cls, given: dict[str, Any]) -> dict[str, Any]:
        for key, value in given.items():
            if isinstance(value, str) and key not in ("name", "reduction", "dtype"):
                raise ValueError(f"{key}: {value!r} is text: leave out its quotes")
        return given

    @model_validator(mode="after")
    def check_epoch_arguments(self) -> "Train":
        for epochs, steps in IN_EPOCHS.items():
            value = self.schedule_arguments.get(epochs, 0)
            if epochs in self.schedule_arguments and steps in self.schedule_arguments:
                raise ValueError(f"schedule_arguments has both {epochs} and {steps}: give one")
            if not all(map(is_duration, value if isinstance(value, list) else [value])):
                raise ValueError(
                    f"schedule_arguments.{epochs}: {value!r} is not a number of epochs (0 or more)"
                )
        return self


class Network(Section):
    """What all families share."""

    # whether the saved network averages its prediction over an image and its mirror image
    average_mirrored: bool = False


class Hidden(Network):
    """What the families with hidden layers of one's own choice share."""

    activation: one_of(*ACTIVATIONS)
    negative_slope: Annotated[float, Field(ge=0)] | None = None
    batch_norm: one_of("none", "before", "after")

    @model_validator(mode="after")
    def slope_of_leaky_relu(self) -> "Hidden":
        if (self.activation == "leaky_relu") != (self.negative_slope is not None):
            raise ValueError(
                "negative_slope belongs to the activation leaky_relu: give both, or neither"
            )
        return self


def one_value_a_block(*keys: str) -> Any:
    """A check that each of `keys`, where it is a list, has as many values as `filters`."""

    def check(section: Any) -> Any:
        for key in keys:
            value = getattr(section, key)
            if isinstance(value, list) and len(value) != len(section.filters):
                raise ValueError(
                    f"{key} has {len(value)} values, filters has {len(section.filters)}: one a "
                    "block"
                )
        return section

    return model_validator(mode="after")(check)


class Dense(Hidden):
    family: Literal["dense"]
    units: list[Count]
    dropout: Rate


class Cnn(Hidden):
    family: Literal["cnn"]
    filters: Annotated[list[Count], Field(min_length=1)]
    convolutions: one_or_list(Count)
    kernel_size: one_or_list(Count)
    padding: one_of("valid", "same")
    pool_size: one_or_list(Count)
    pool_strides: one_or_list(Count) | None
    pool_padding: one_of("valid", "same")
    dropout: one_or_list(Rate)
    head: one_of("flatten", "global_average_pooling")
    dense_units: list[Count]
    dense_dropout: Rate

    one_value_a_block = one_value_a_block(
        "convolutions", "kernel_size", "pool_size", "pool_strides", "dropout"
    )


class Whitened(Network):
    family: Literal["whitened"]
    whitening_size: Count
    whitening_images: Count
    whitening_epsilon: Annotated[float, Field(gt=0)]
    filters: Annotated[list[Count], Field(min_length=1)]
    convolutions: one_or_list(Count)
    kernel_size: one_or_list(Count)
    pool_size: one_or_list(Count)
    activation: one_of(*ACTIVATIONS)
    batch_norm_momentum: Rate
    head_scale: Annotated[float, Field(gt=0)]

    one_value_a_block = one_value_a_block("convolutions", "kernel_size", "pool_size")


class Alexnet(Network):
    family: Literal["alexnet"]
    filters: exactly(5, Count)
    kernel_size: exactly(5, Count)
    strides: exactly(5, Count)
    batch_norm: one_of("none", "before", "after")
    pool_size: Count
    pool_strides: Count
    pool_padding: one_of("valid", "same")
    dense_units: list[Count]
    dense_dropout: Rate


class Vgg16(Network):
    family: Literal["vgg16"]
    filters: exactly(5, Count)
    convolutions: exactly(5, Count)
    kernel_size: Count
    batch_norm: one_of("none", "before", "after")
    pool_size: Count
    dense_units: list[Count]
    dense_dropout: Rate


class Googlenet(Network):
    family: Literal["googlenet"]
    stem_filters: exactly(3, Count)
    stem_kernel_size: exactly(3, Count)
    stem_strides: Count
    stem_padding: one_of("valid", "same")
    pool_size: Count
    pool_strides: Count
    pool_padding: one_of("valid", "same")
    inception_3a: exactly(6, Count)
    inception_3b: exactly(6, Count)
    inception_4a: exactly(6, Count)
    inception_4b: exactly(6, Count)
    inception_4c: exactly(6, Count)
    inception_4d: exactly(6, Count)
    inception_4e: exactly(6, Count)
    inception_5a: exactly(6, Count)
    inception_5b: exactly(6, Count)
    dropout: Rate
    auxiliary_pool_size: Count
    auxiliary_pool_strides: Count
    auxiliary_filters: Count
    auxiliary_units: Count
    auxiliary_dropout: Rate
    loss_weights: exactly(3, Annotated[float, Field(ge=0)])  # the training's, not the network's


class FineTuning(Section):
    """How a network with pre-trained weights is trained: first its new classifier alone, then also
    the layers that `layers` names."""

    head_epochs: Annotated[int, Field(ge=0)]
    head_learning_rate: Annotated[float, Field(gt=0)]
    layers: Line
    batch_norm: one_of("frozen", "trained")

    @model_validator(mode="after")
    def something_learns(self) -> "FineTuning":
        if self.layers == "none" and not self.head_epochs:
            raise ValueError("nothing is trained: head_epochs is 0, and layers is none")
        return self


class Application(Network):
    family: Literal["application"]
    network: one_of(*APPLICATIONS)
    top: one_of("own", "global_average_pooling", "global_max_pooling", "flatten")
    arguments: dict[str, Any]
    # without them, networks of random weights stay as they were; weights ask for fine_tuning too
    weights: Annotated[Line, Field(pattern=r"^[^~]")] | None = None
    fine_tuning: FineTuning | None = None

    @model_validator(mode="after")
    def as_pretrained(self) -> "Application":
        if self.weights and not self.fine_tuning:
            raise ValueError("weights are given: fine_tuning must say how they are trained on")
        if self.weights and "include_preprocessing" in self.arguments:
            raise ValueError(
                "include_preprocessing is not for pre-trained weights: their network gets its "
                "pixels as it was trained with them"
            )
        return self


def not_in_onnx(name: str, arguments: dict[str, Any]) -> str | None:
    """What of a layer the stage export cannot write as ONNX, and what to take instead; None where
    nothing is known. Tried with each of `LAYERS`."""
    if name == "Equalization":
        return "ContrastLimitedAdaptiveHistogramEqualization can"
    if name == "RandomCrop":
        return "augment.crop_padding crops in training"
    if name == "Resizing":
        if arguments.get("interpolation", "bilinear") not in ("bilinear", "nearest"):
            return "the interpolations bilinear and nearest can"
        if arguments.get("antialias") or arguments.get("pad_to_aspect_ratio"):
            return "without antialias and pad_to_aspect_ratio it can"
    if name == "UpSampling2D" and "lanczos" in str(arguments.get("interpolation")):
        return "the interpolations bilinear, bicubic and nearest can"
    return None


def one_layer(layer: Any) -> Any:
    """Check one of `layers`: a map with one key, the name of a layer, and its arguments by name;
    and that the trained network can be exported."""
    if not isinstance(layer, dict) or len(layer) != 1:
        raise ValueError(
            "a layer is one key, its name, with its arguments, such as Conv2D: {filters: 32, "
            "kernel_size: 3}"
        )
    ((name, arguments),) = layer.items()
    if name not in LAYERS:
        raise ValueError(f"{name!r} is not a layer. {suggest(name, LAYERS)}")
    if not (arguments is None or isinstance(arguments, dict)):
        raise ValueError(
            f"{arguments!r} are not arguments by name: write {name} as in Conv2D: {{filters: 32, "
            "kernel_size: 3}}"
        )
    activation = (arguments or {}).get("activation")
    if isinstance(activation, str) and activation not in (*ACTIVATIONS, *ACROSS, *SECOND_NAMES):
        raise ValueError(
            f"{activation!r} is not an activation. {suggest(activation, (*ACTIVATIONS, *ACROSS))}"
        )
    if instead := not_in_onnx(name, arguments or {}):
        raise ValueError(f"{name} cannot be exported as ONNX with these arguments: {instead}")
    return layer


def snake_case(name: str) -> str:
    """A class's name as Keras makes names of layers from it (``keras.src.utils.naming``)."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def check_layer_names(layers: list[Any]) -> list[Any]:
    """Check that no two of `layers` have one name, and none that of a layer which every network
    has, or one that Keras may give a layer without a name: ``max_pooling2d_1``."""
    taken = ["image", "rescaling", "probability"]
    given = [pair for layer in layers for pair in layer.items()]
    unnamed = {snake_case(kind) for kind, arguments in given if not (arguments or {}).get("name")}
    invented = re.compile("|".join(f"{name}(_[0-9]+)?" for name in unnamed) or "(?!)")
    for number, (_, arguments) in enumerate(given):
        name = (arguments or {}).get("name")
        if isinstance(name, str) and invented.fullmatch(name):
            raise ValueError(
                f"the name {name!r} of layers[{number}] is one that Keras gives to layers without "
                "a name: give it another one"
            )
        if name in taken:
            raise ValueError(
                f"the name {name!r} of layers[{number}] is taken: give it another one, or none"
            )
        taken += [name] if name else []
    return layers


class Sequential(Network):
    family: Literal["sequential"]
    layers: Annotated[
        list[Annotated[Any, BeforeValidator(one_layer)]],
        Field(min_length=1),
        AfterValidator(check_layer_names),
    ]


FAMILIES = {
    "dense": Dense,
    "cnn": Cnn,
    "whitened": Whitened,
    "alexnet": Alexnet,
    "vgg16": Vgg16,
    "googlenet": Googlenet,
    "application": Application,
    "sequential": Sequential,
}
Architecture = Annotated[
    Dense | Cnn | Whitened | Alexnet | Vgg16 | Googlenet | Application | Sequential,
    Field(discriminator="family"),
]


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

    seed: Annotated[int, Field(ge=0, lt=2**32)]
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
