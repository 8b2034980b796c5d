"""One training, from parameters to files: build, train, save, reload, predict.

The module does not import Keras at the top, since `backend.start` must run first.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training.experiment import Experiment, locate_finished, locate_head_checkpoint

if TYPE_CHECKING:
    import keras

    from stages.training.network import Network


def run(
    experiment: Experiment,
    prepared: Prepared,
    folder: Path,
    checkpoint: Path,
    logs: Path | None = None,
) -> dict[str, Any]:
    """Train, save into `folder`, reload and predict; call `backend.start` first, and
    `keep_last_state` once the results are safe. `logs` is the folder for TensorBoard's logs.
    Returns the run record."""
    from stages.training.network import build_network

    network = build_network(experiment, prepared)
    return train_and_predict(experiment, network, prepared, folder, checkpoint, logs)


def train_and_predict(
    experiment: Experiment,
    network: "Network",
    prepared: Prepared,
    folder: Path,
    checkpoint: Path,
    logs: Path | None = None,
    wrap: Callable[["keras.Model"], "keras.Model"] | None = None,
) -> dict[str, Any]:
    """Like `run`, for a `network` that is already built. `wrap` turns the reloaded model into the
    one that predicts."""
    from stages.training import fitting, record, saving

    training, fit_seconds = fitting.train_network(
        experiment, network, prepared, folder, checkpoint, logs
    )
    fitted = time.perf_counter()
    uncalibrated = calibrate(network.saved, experiment, prepared, training)
    saved = saving.save_and_load(network.saved, folder / "model.keras")
    predicting = wrap(saved) if wrap else saved
    predictions = predict(predicting, prepared, experiment.train.prediction_batch_size)
    predictions |= uncalibrated
    write_results(training, predictions, folder)
    report(training, predictions, prepared, folder, fit_seconds)
    seconds = fit_seconds + time.perf_counter() - fitted
    return record.describe_run(fit_seconds, seconds, training["epochs"])


def calibrate(
    model: "keras.Model", experiment: Experiment, prepared: Prepared, training: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Calibrate `model` on the validation set if the recipe asks for it, and add the temperature to
    `training`. Returns the uncalibrated predictions for predictions.npz; none if it is left as
    is."""
    if experiment.train.calibration == "none":
        return {}
    from stages.training import calibration

    size, labels = experiment.train.prediction_batch_size, prepared.labels("validation")
    before = predict(model, prepared, size)
    views = [
        before["validation"]
        if view is model
        else predict(view, prepared, size, ("validation",))["validation"]
        for view in calibration.split_views(model)
    ]
    training["temperature"] = calibration.fit_temperature(np.stack(views), labels)
    calibration.scale(model, training["temperature"])
    return {f"uncalibrated_{part}": before[part] for part in ("validation", "test")}


def keep_last_state(checkpoint: Path) -> None:
    """Keep the final checkpoint aside, for a training with more epochs to resume from. Remove that
    of the head, whose epochs are too short to be worth keeping."""
    if checkpoint.exists():
        checkpoint.replace(locate_finished(checkpoint))
    files.remove(locate_head_checkpoint(checkpoint))


def predict(
    model: "keras.Model",
    prepared: Prepared,
    batch_size: int,
    parts: Sequence[str] = ("validation", "test"),
) -> dict[str, np.ndarray]:
    """The content of predictions.npz: class probabilities by `model` for each of `parts`, float32
    (images, classes)."""
    from stages.training import heads, time_left
    from stages.training.batches import Batches

    predictions = {}
    for part in parts:
        batches = Batches(prepared.images(part), prepared.labels(part), batch_size, classes=None)
        with time_left.show_prediction(part, len(batches)) as callback:
            predicted = model.predict(batches, verbose=0, callbacks=[callback])
        predictions |= heads.name_by_part(part, predicted)
    return predictions


def write_results(
    training: dict[str, Any], predictions: dict[str, np.ndarray], folder: Path
) -> None:
    """Write predictions.npz and training.json, which includes the size and digest of model.keras in
    `folder`."""
    files.write_npz(folder / "predictions.npz", **predictions)
    model = folder / "model.keras"
    training["file"] = {"bytes": model.stat().st_size, "sha256": files.sha256(model)}
    files.write_json(folder / "training.json", training)


def report(
    training: dict[str, Any],
    predictions: dict[str, np.ndarray],
    prepared: Prepared,
    folder: Path,
    fit_seconds: float,
) -> None:
    """Print a line about the result, and a note if the model is near chance or overfits. The latter
    is read from history.csv in `folder`."""
    from stages.training import notes

    accuracy = np.mean(predictions["validation"].argmax(axis=1) == prepared.labels("validation"))
    averaged = training["train"]["optimizer_arguments"].get("use_ema")
    weights = "weights averaged up to" if averaged else "the weights of"
    epochs = training["epochs"]
    print(
        f"{training['model']}: {training['parameters']['total']:,} parameters, "
        f"{epochs} epoch{'' if epochs == 1 else 's'}, validation accuracy {accuracy:.4f} with "
        f"{weights} epoch {training['kept_epoch']}; {fit_seconds:.0f} s"
    )
    name, kept = training["model"], training["kept_epoch"]
    notes.warn_of_chance(name, accuracy, prepared.labels("validation"))
    notes.warn_of_overfitting(name, folder / "history.csv", kept, accuracy)
