"""Find the folder of a trained model, which may come from anywhere, and check it before use. Every
fault is a `UserError` with a remedy that suits the folder's origin."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from commands.predicting.schemas import Metrics, Training
from stages.conversion.names import DIGESTS, INT8
from stages.runtime.errors import UserError
from stages.storage import files

ROOT = Path(__file__).parents[2]  # of the project, wherever a command is started
MAX_BYTES = 64_000_000  # of training.json
Checked = TypeVar("Checked", bound=BaseModel)


@dataclass(frozen=True)
class Trained:
    """A trained model on disk. `file`: the network to predict with, an ONNX file in an exported
    folder, model.keras in any other."""

    folder: Path
    training: Training
    file: Path
    sha256: str  # of `file`


def open_model(model: str | None, int8: bool = False) -> Trained:
    """Find and check the model that the user names: a folder, a name below ``models/``, or None for
    the selected one; `int8`: the same network in 8-bit integers."""
    trained = open_float32(model)
    if not int8:
        return trained
    digest = is_exported(trained.folder) and read_digests(trained.folder).get(INT8)
    if not digest:
        raise UserError(
            f"--int8: {trained.folder / INT8} was not exported: set export.int8_fall in "
            "params.yaml, for instance to 0.01, and run `dvc repro`; this exports it for the "
            "selected model"
        )
    check_digest(trained.folder / INT8, digest, DIGESTS)
    return replace(trained, file=trained.folder / INT8, sha256=digest)


def open_float32(model: str | None) -> Trained:
    """As `open_model`, in float32."""
    if model is not None:
        return open_folder(find_folder(model))
    selection = files.read_json(shorten(ROOT / "reports" / "selection.json"))
    exports = shorten(ROOT / "exports")
    if is_exported(exports):
        trained = open_folder(exports)
        if trained.training.file.sha256 == selection["sha256"]:
            return trained
    return open_folder(find_folder(selection["selected"]))  # the stage export has not run yet


def is_exported(folder: Path) -> bool:
    """Whether the stage export wrote the folder, so that ONNX Runtime can run its model."""
    return (folder / DIGESTS).is_file() and (folder / "training.json").is_file()


def find_folder(model: str) -> Path:
    """The folder of a model, given as a name below ``models/`` or as a path. Raises `UserError`."""
    places = (shorten(ROOT / "models" / model), Path(model))
    for place in places:
        if is_exported(place) or (place / "model.keras").is_file():
            return place
    if there := next((place for place in places if place.is_dir()), None):
        raise UserError(f"{there}/model.keras is missing: {advise(there)}")
    known = sorted(path.parent.name for path in (ROOT / "models").glob("*/model.keras"))
    hint = f"there are {', '.join(known)}" if known else "`dvc repro` or `dvc checkout` makes them"
    raise UserError(
        f"there is no model {model!r}, neither below models/ nor as a folder with model.keras: "
        f"{hint}"
    )


def shorten(path: Path) -> Path:
    """An absolute path, relative to the working directory if it is below that."""
    try:
        return path.relative_to(Path.cwd())
    except (OSError, ValueError):  # the working directory may be gone
        return path


def advise(folder: Path) -> str:
    """How to restore a damaged or missing file of a model: from the pipeline, if that made the
    folder, or from where it was downloaded."""
    place = Path(os.path.abspath(folder))
    if (ROOT / "dvc.yaml").exists() and (
        ROOT / "models" in place.parents or place == ROOT / "exports"
    ):
        return "`dvc checkout` restores it, or `dvc repro` makes it again"
    return "download the model again from where it came, for instance by `dvc artifacts get`"


def open_folder(folder: Path) -> Trained:
    """The model in `folder`, after a check of its files against the recorded digests: in
    ``SHA256SUMS`` of an exported folder, else in training.json. Raises `UserError`."""
    if is_exported(folder):
        digests = read_digests(folder)
        for name in ("training.json", "model.onnx"):
            check_digest(folder / name, digests.get(name), DIGESTS)
        training = validate(Training, folder / "training.json")
        return Trained(folder, training, folder / "model.onnx", digests["model.onnx"])
    training = validate(Training, folder / "training.json")
    check_keras(folder, training)
    return Trained(folder, training, folder / "model.keras", training.file.sha256)


def read_confidence(trained: Trained) -> float:
    """The confidence that the stage export chose: answers with a lower probability are to be
    refused. Raises `UserError` if it chose none."""
    path = trained.folder / "metrics.json"
    if is_exported(trained.folder):
        check_digest(path, read_digests(trained.folder).get(path.name), DIGESTS)
        metrics = validate(Metrics, path)
        refusal = metrics.int8.refusal if trained.file.name == INT8 else metrics.refusal
        if refusal:
            return refusal.confidence
    raise UserError(
        f"--refuse: no confidence was chosen for the model in {trained.folder}: set "
        "export.accepted_accuracy in params.yaml, for instance to 0.95, and run `dvc repro`; this "
        "chooses one for the selected model"
    )


def check_keras(folder: Path, training: Training) -> None:
    """Raise `UserError` unless model.keras is the file that training.json describes."""
    check_digest(folder / "model.keras", training.file.sha256, "training.json")


def check_digest(path: Path, sha256: str | None, record: str) -> None:
    """Raise `UserError` unless the file has this digest, which the file `record` beside it gave."""
    if not path.is_file():
        raise UserError(f"{path} is missing: {advise(path.parent)}")
    if files.sha256(path) != sha256:
        raise UserError(
            f"{path} is damaged, or not the file that {path.with_name(record)} describes: their "
            f"SHA-256 digests differ: {advise(path.parent)}"
        )


def read_digests(folder: Path) -> dict[str, str]:
    """The digests of an exported folder's files, by name."""
    lines = read_bounded(folder / DIGESTS).decode("utf-8", "replace").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def read_bounded(path: Path) -> bytes:
    """The content of a file of at most `MAX_BYTES`. Raises `UserError`."""
    if not path.is_file():
        raise UserError(f"{path} is missing: {advise(path.parent)}")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} has more than {MAX_BYTES:,} bytes: {advise(path.parent)}")
    return path.read_bytes()


def validate(schema: type[Checked], path: Path) -> Checked:
    """The content of the JSON file at `path`, validated by `schema`. Raises `UserError`."""
    content = read_bounded(path)
    try:
        return schema.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"]))
        where = f"{key}: " if key else ""
        remedy = advise(path.parent)
        raise UserError(f"{path} is damaged: {where}{first['msg']}: {remedy}") from None
