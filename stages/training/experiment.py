"""Experiments: everything but data and code that determines the result of a training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.params.schema import Architecture, Augment, Train
from stages.runtime.errors import UserError
from stages.storage import files


@dataclass(frozen=True)
class Pretrained:
    """The pre-trained weights that a network starts from, as the stage weights fetched them."""

    file: Path
    about: dict[str, Any]  # weights (the parameter), source, licence, bytes, sha256


@dataclass(frozen=True)
class Experiment:
    """Everything but data and code that determines the result of a training."""

    name: str
    seed: int
    architecture: Architecture
    augment: Augment
    train: Train
    pretrained: Pretrained | None = None  # None: random initial weights


def find_pretrained(folder: Path) -> Pretrained:
    """The weights in `folder`, as the stage weights wrote them. Raises `UserError` if they are
    missing or do not match their digest."""
    about = files.read_json(folder / "source.json")
    file = folder / "weights.h5"
    if not file.exists() or files.sha256(file) != about.get("sha256"):
        state = "does not match source.json beside it" if file.exists() else "is missing"
        raise UserError(f"{file} {state}: `dvc repro` restores it")
    return Pretrained(file, about)


def locate_head_checkpoint(checkpoint: Path) -> Path:
    """The checkpoint of the head's phase, beside that of the fine-tuning."""
    return checkpoint.with_stem(f"{checkpoint.stem}-head")


def locate_finished(checkpoint: Path) -> Path:
    """The file with the final state of a finished training, beside its checkpoint."""
    return checkpoint.with_name(f"finished-{checkpoint.name}")
