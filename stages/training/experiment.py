"""What decides the result of a training, beside the data and the code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.params.schema import Architecture, Augment, Train
from stages.runtime.errors import UserError
from stages.storage import files


@dataclass(frozen=True)
class Pretrained:
    """The weights that a network starts from, as the stage weights brought them."""

    file: Path
    about: dict[str, Any]  # weights (the parameter), source, licence, bytes, sha256


@dataclass(frozen=True)
class Experiment:
    """What decides the result of a training, beside the data and the code."""

    name: str
    seed: int
    architecture: Architecture
    augment: Augment
    train: Train
    pretrained: Pretrained | None = None  # None: the weights start random


def find_pretrained(folder: Path) -> Pretrained:
    """The weights in `folder`, which the stage weights wrote. Raises `UserError` where they are
    missing, or other ones."""
    about = files.read_json(folder / "source.json")
    file = folder / "weights.h5"
    if not file.exists() or files.sha256(file) != about.get("sha256"):
        state = "is another than source.json beside it says" if file.exists() else "is missing"
        raise UserError(f"{file} {state}: `dvc repro` brings it back")
    return Pretrained(file, about)


def locate_head_checkpoint(checkpoint: Path) -> Path:
    """Where the phase of the head keeps its state, beside that of the fine-tuning."""
    return checkpoint.with_stem(f"{checkpoint.stem}-head")


def locate_finished(checkpoint: Path) -> Path:
    """Where the last state of a training that has ended is kept, beside its checkpoint."""
    return checkpoint.with_name(f"finished-{checkpoint.name}")
