"""The folder of a trained model, which may come from anywhere: found, checked before it is used,
and loaded. Every fault is a `UserError` that fits where the folder comes from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.conversion import checking
from stages.params.schema import Preprocess
from stages.runtime.errors import UserError
from stages.storage import files

if TYPE_CHECKING:
    import keras

MOST_BYTES = 64_000_000  # of training.json
MOST_SIDE = 4096  # pixels of an image as the network takes it
Side = Annotated[int, Field(ge=1, le=MOST_SIDE)]
Channels = Literal[1, 3]


class Part(BaseModel):
    """A part of training.json: what predict reads of it, with its types; more may be there."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class File(Part):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Train(Part):
    threads: Annotated[int, Field(ge=1, le=1024)]


class Training(Part):
    """What predict reads of training.json: the classes, how an image is prepared, and which file it
    describes."""

    class_names: Annotated[list[str], Field(min_length=1)]
    image_shape: Annotated[list[int], Field(min_length=3, max_length=3)]  # checked below, by name
    decoded_channels: Channels
    preprocess: Preprocess
    train: Train
    file: File

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image as the network takes it."""
        return tuple(self.image_shape)


class Shape(Part):
    """The three numbers of ``image_shape``."""

    height: Side
    width: Side
    channels: Channels


def folder_of(model: str | None) -> Path:
    """The folder of the model that the user names: a path, a name below ``models/``, or None for
    the selected one."""
    if model is None:
        model = files.read_json(Path("reports/selection.json"))["selected"]
    places = (Path("models") / model, Path(model))
    for place in places:
        if (place / "model.keras").is_file():
            return place
    if there := next((place for place in places if place.is_dir()), None):
        raise UserError(f"{there}/model.keras is missing: {advice(there)}")
    known = sorted(path.parent.name for path in Path("models").glob("*/model.keras"))
    those = f"there are {', '.join(known)}" if known else "`dvc repro` or `dvc checkout` makes them"
    raise UserError(
        f"there is no model {model!r}, neither below models/ nor as a folder with model.keras: "
        f"{those}"
    )


def advice(folder: Path) -> str:
    """How a damaged or missing file of a model comes back: from the pipeline that made it, or from
    where it was fetched."""
    parts = folder.parts
    of_pipeline = Path("dvc.yaml").exists() and (parts[:1] == ("models",) or parts == ("exports",))
    if of_pipeline:
        return "`dvc checkout` brings it back, or `dvc repro` makes it again"
    return "fetch the model again from where it came, for instance by `dvc artifacts get`"


def describe(folder: Path) -> Training:
    """What training.json says, checked by its schema; and that model.keras is the file it speaks
    of."""
    path, model = folder / "training.json", folder / "model.keras"
    if not path.is_file():
        raise UserError(f"{path} is missing: {advice(folder)}")
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} has more than {MOST_BYTES:,} bytes: {advice(folder)}")
    try:
        training = Training.model_validate_json(path.read_bytes())
        Shape(**dict(zip(("height", "width", "channels"), training.image_shape)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"]))
        where = f"{key}: " if key else ""
        raise UserError(f"{path} is damaged: {where}{first['msg']}: {advice(folder)}") from None
    if files.sha256(model) != training.file.sha256:
        raise UserError(
            f"{model} is damaged, or not the file that {path} describes: their SHA-256 digests "
            f"differ: {advice(folder)}"
        )
    return training


def load(folder: Path, training: Training) -> "keras.Model":
    """The network with its main output alone, images uint8 (images, height, width, channels) →
    probabilities (images, classes). Needs `backend.start`."""
    path = folder / "model.keras"
    try:
        network = checking.load(path)
    except UserError as error:
        raise UserError(f"{error}: {advice(folder)}") from None
    given, wanted = network.input_shape, (None, *training.shape)
    if given != wanted or network.output_shape != (None, len(training.class_names)):
        raise UserError(
            f"{path} takes images of the shape {given[1:]} and tells "
            f"{network.output_shape[-1]} classes apart, and training.json speaks of {wanted[1:]} "
            f"and {len(training.class_names)}: {advice(folder)}"
        )
    return network
