"""One training from its parameters to its files: build, train, save, read back, predict.

The module itself needs no Keras, since `backend.start` must come before the first import of it.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.params.schema import Architecture, Augment, Train
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared

if TYPE_CHECKING:
    import keras


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


def run(
    experiment: Experiment, prepared: Prepared, folder: Path, checkpoint: Path
) -> dict[str, Any]:
    """Train, save into `folder`, read back, predict; needs `backend.start`.
    Returns the run record."""
    from stages.training import record, saving

    started = time.perf_counter()
    model, _, training = fit(experiment, prepared, folder, checkpoint)
    fit_seconds = time.perf_counter() - started
    saved = saving.save_and_load(model, folder / "model.keras")
    predictions = predict(saved, prepared, experiment.train.prediction_batch_size)
    write_results(training, predictions, folder)
    remove_checkpoints(checkpoint)
    report(training, predictions, prepared, fit_seconds)
    return record.describe_run(fit_seconds, time.perf_counter() - started, training["epochs"])


def fit(
    experiment: Experiment, prepared: Prepared, folder: Path, checkpoint: Path
) -> tuple["keras.Model", "keras.Optimizer", dict[str, Any]]:
    """Build the network and train it, writing history.csv into `folder` on the way. Returns the
    model to save, with the weights that ``restore_best`` asks for, the optimizer, and the content
    of training.json."""
    from stages.training import fitting
    from stages.training.network import build_network

    network = build_network(experiment, prepared)
    training = fitting.train_network(experiment, network, prepared, folder, checkpoint)
    return network.saved, network.optimizer, training


def remove_checkpoints(checkpoint: Path) -> None:
    """Remove what an interrupted training would go on from: of all phases."""
    for file in (checkpoint, locate_head_checkpoint(checkpoint)):
        files.remove(file)


def locate_head_checkpoint(checkpoint: Path) -> Path:
    """Where the phase of the head keeps its state, beside that of the fine-tuning."""
    return checkpoint.with_stem(f"{checkpoint.stem}-head")


def predict(model: "keras.Model", prepared: Prepared, batch_size: int) -> dict[str, np.ndarray]:
    """The content of predictions.npz: what `model` says of the validation and the test part,
    float32 (images, classes) each."""
    from stages.training import heads
    from stages.training.batches import Batches

    predictions = {}
    for part in ("validation", "test"):
        batches = Batches(prepared.images(part), prepared.labels(part), batch_size, classes=None)
        predictions |= heads.name_by_part(part, model.predict(batches, verbose=0))
    return predictions


def write_results(
    training: dict[str, Any], predictions: dict[str, np.ndarray], folder: Path
) -> None:
    """Write predictions.npz and training.json, with the size and digest of the model.keras that
    lies in `folder`."""
    files.write_npz(folder / "predictions.npz", **predictions)
    model = folder / "model.keras"
    training["file"] = {"bytes": model.stat().st_size, "sha256": files.sha256(model)}
    files.write_json(folder / "training.json", training)


def report(
    training: dict[str, Any],
    predictions: dict[str, np.ndarray],
    prepared: Prepared,
    fit_seconds: float,
) -> None:
    """Print what the training came to, in a line."""
    accuracy = np.mean(predictions["validation"].argmax(axis=1) == prepared.labels("validation"))
    print(
        f"{training['model']}: {training['parameters']['total']:,} parameters, "
        f"{training['epochs']} epochs, validation accuracy {accuracy:.4f} with the weights of "
        f"epoch {training['kept_epoch']}; {fit_seconds:.0f} s"
    )
