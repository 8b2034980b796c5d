"""One training from its parameters to its files: fit, save, read back, predict."""

import hashlib
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.params.schema import Architecture, Augment, Train
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared

if TYPE_CHECKING:
    import keras

OF_DATA = (  # what training.json takes over from data.json
    "dataset",
    "class_names",
    "image_shape",
    "decoded_channels",
    "preprocess",
    "validation_is_test",
    "validation_is_training",
)
CODE = ("stages/train.py", "stages/training", "stages/architectures", "stages/storage")
STEPS_PER_EXECUTION = 20  # batches between two returns to Python: faster, with the same bits


@dataclass(frozen=True)
class Experiment:
    """What decides the result of a training, beside the data and the code."""

    name: str
    seed: int
    architecture: Architecture
    augment: Augment
    train: Train
    starts_from: Path | None = (
        # the folder of a finished training to go on from, with its model and its optimizer's state
        None
    )
    # whether the optimizer's state is saved too, for a training that goes on from this one
    keep_optimizer: bool = False
    evaluate_in_training_mode: bool = (
        False  # whether dropout stays on when validation and test images are predicted
    )


def run(
    experiment: Experiment, prepared: Prepared, folder: Path, checkpoint: Path
) -> dict[str, Any]:
    """Train, save into `folder`, read back, predict; needs `backend.start`.
    Returns the run record."""
    import keras

    from stages.training import heads, record, saving
    from stages.training.batches import Batches

    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    model, optimizer, training = fit(experiment, prepared, folder, checkpoint)
    fit_seconds = time.perf_counter() - started

    saving.save(model, folder / "model.keras")
    if experiment.keep_optimizer:
        saving.save_state(optimizer, folder / "optimizer.npz")
    saved = keras.saving.load_model(folder / "model.keras", compile=False)
    if experiment.evaluate_in_training_mode:
        saved = heads.in_training_mode(saved)
    predictions = {}
    for part in ("validation", "test"):
        batches = Batches(
            prepared.images(part),
            prepared.labels(part),
            experiment.train.prediction_batch_size,
            classes=None,
        )
        predictions |= heads.by_part(part, saved.predict(batches, verbose=0))
    with files.replacing(folder / "predictions.npz") as partial, open(partial, "wb") as file:
        np.savez(file, **predictions)
    training["file"] = {
        "bytes": (folder / "model.keras").stat().st_size,
        "sha256": files.sha256(folder / "model.keras"),
    }
    files.write_json(folder / "training.json", training)
    files.remove(checkpoint)
    accuracy = np.mean(predictions["validation"].argmax(axis=1) == prepared.labels("validation"))
    print(
        f"{experiment.name}: {training['parameters']['total']:,} parameters, {training['epochs']} "
        "epochs, validation accuracy "
        f"{accuracy:.4f} with the weights of epoch {training['kept_epoch']}; {fit_seconds:.0f} s"
    )
    return record.of_run(fit_seconds, time.perf_counter() - started, training["epochs"])


def fit(
    experiment: Experiment, prepared: Prepared, folder: Path, checkpoint_file: Path
) -> tuple["keras.Model", "keras.Optimizer", dict[str, Any]]:
    """Train, writing history.csv on the way. Returns the model with the weights that
    ``restore_best`` asks for, the optimizer, and the content of training.json."""
    import keras

    from stages import architectures
    from stages.training import augmentation, heads, recipe, saving
    from stages.training.batches import Batches
    from stages.training.checkpoint import Checkpoint, EarlyStopping

    train, description = experiment.train, prepared.description
    keras.utils.set_random_seed(experiment.seed)
    keras.config.set_dtype_policy(train.precision)
    architecture = experiment.architecture.model_dump(exclude_unset=True)
    loss_weights = architecture.pop("loss_weights", None)  # of a network with auxiliary heads
    average_mirrored, family = (
        architecture.pop("average_mirrored", False),
        architecture.pop("family"),
    )
    model = architectures.build(experiment.name, family, architecture, description)
    whole = heads.averaged_with_mirrored(model) if average_mirrored else model  # what is saved
    optimizer = recipe.optimizer(train)
    optimizer.build(model.trainable_variables)
    if experiment.starts_from:
        whole.load_weights(experiment.starts_from / "model.keras")
        saving.load_state(optimizer, experiment.starts_from / "optimizer.npz")
    else:
        architectures.adapt(model, family, architecture, prepared.images("train"))
    # `model` stays as it is: without optimizer, metrics, and what changes the training images
    network = heads.in_training_mode(model) if experiment.evaluate_in_training_mode else model
    trainer = heads.Trainer(*augmentation.in_front_of(network, experiment.augment, experiment.seed))
    trainer.compile(
        optimizer,
        loss=[recipe.loss(train) for _ in model.outputs],
        loss_weights=loss_weights,
        metrics=[recipe.metrics(train) for _ in model.outputs],
        steps_per_execution=1
        if keras.config.backend() == "torch"
        else STEPS_PER_EXECUTION,  # torch allows no other
    )

    classes = None if recipe.takes_class_numbers(train) else len(description["class_names"])
    labels = prepared.labels("train")
    batches = Batches(prepared.images("train"), labels, train.batch_size, classes, experiment.seed)
    validation = Batches(
        prepared.images("validation"),
        prepared.labels("validation"),
        train.prediction_batch_size,
        classes,
    )
    early_stopping = EarlyStopping(**train.early_stopping.model_dump())
    checkpoint = Checkpoint(
        checkpoint_file, fingerprint(experiment, prepared), trainer, optimizer, early_stopping
    )
    done = checkpoint.restore()
    if done:
        print(f"{experiment.name}: going on behind epoch {done}, from {checkpoint.file}")

    def begin(epoch: int, logs: dict[str, float] | None) -> None:
        batches.begin(epoch)

    def refuse_nan(epoch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"{experiment.name}: the loss is {logs['loss']} in epoch {epoch + 1}: a lower "
                "train.learning_rate may help"
            )

    def write_history(epoch: int, logs: dict[str, float]) -> None:
        table = pd.DataFrame(
            checkpoint.history, index=pd.RangeIndex(1, len(checkpoint.history) + 1, name="epoch")
        )
        with files.replacing(folder / "history.csv") as partial:
            table.round(6).to_csv(partial)

    before = keras.callbacks.LambdaCallback(
        on_epoch_begin=begin, on_epoch_end=refuse_nan
    )  # a checkpoint never holds NaN
    after = keras.callbacks.LambdaCallback(on_epoch_end=write_history)
    trainer.fit(
        batches,
        validation_data=validation,
        initial_epoch=done,
        epochs=done if checkpoint.finished else train.epochs,
        callbacks=[before, early_stopping, checkpoint, after],
        class_weight=recipe.class_weight(train, labels),
        verbose=1 if sys.stdout.isatty() else 2,
        shuffle=False,  # the batches shuffle themselves
    )
    write_history(done, checkpoint.history[-1])
    return (
        whole,
        optimizer,
        {
            "model": experiment.name,
            "parameters": {
                "total": model.count_params(),
                "trainable": sum(math.prod(weights.shape) for weights in model.trainable_weights),
            },
            "epochs": len(checkpoint.history),
            "kept_epoch": len(checkpoint.history)
            if early_stopping.best_weights is None
            else early_stopping.best_epoch + 1,
            "seed": experiment.seed,
            "architecture": experiment.architecture.model_dump(exclude_unset=True),
            "train": train.model_dump(),
            "augment": experiment.augment.model_dump(),
            **{key: description[key] for key in OF_DATA},
            "layers": [described(layer) for layer in model.layers],
        },
    )


def described(layer: "keras.Layer") -> dict[str, Any]:
    """A layer as training.json lists it; output_shape is without the batch axis."""
    return {
        "name": layer.name,
        "type": type(layer).__name__,
        "output_shape": layer.output.shape[1:],
        "parameters": layer.count_params(),
    }


def fingerprint(experiment: Experiment, prepared: Prepared) -> str:
    """A digest of all that decides the result: the experiment, the data, the code, and the versions
    of the libraries."""
    import keras

    from stages.training import backend

    sources = sorted(
        path
        for place in CODE
        for path in [Path(place), *Path(place).glob("*.py")]
        if path.is_file()
    )
    start = experiment.starts_from and files.sha256(experiment.starts_from / "model.keras")
    parts = [
        experiment,
        start,
        prepared.description,
        prepared.most,
        [files.sha256(path) for path in sources],
        backend.platform(),
        *(sys.modules[name].__version__ for name in ("keras", keras.config.backend(), "numpy")),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()
