"""Stage export: copy the selected model into a folder with all that is needed to use it elsewhere,
and convert it to ONNX, which needs neither Keras nor Python.

Reads ``reports/`` (selection, comparison, data card), ``models/NAME/`` and the test images, and for
refusal and 8-bit integers those of the other parts too; writes into ``reports/export.json`` what
was measured here, refusal and int8 of metrics.json, and into ``exports/``:

    model.keras      the selected model, as it was trained
    training.json    what is needed to use it: class names, image shape, preprocess
    model.onnx       the same network; its metadata holds class_names and preprocess as JSON
    metrics.json     its metrics, how it was selected, and the confidence below which to refuse, if
                     ``export.accepted_accuracy`` asks for one; one of its own for 8-bit integers
    model.int8.onnx  the same in 8-bit integers, if ``export.int8_fall`` asks for it
    README.md        how to use it, with Python that runs as it is; licences
    SHA256SUMS       digests of the files

On the test set, the ONNX file must predict as the Keras model does, within `TOLERANCE`. It computes
in float32, and so does the Keras model that it is compared with. Where that differs from the model
as it was trained, in mixed precision or by another backend, the stage prints by how much; for a
model trained in float32 it refuses more than rounding. The time per image of both goes to
``models/NAME/latency.json``, which DVC does not track. Takes 6 seconds.
"""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from stages import params
from stages.conversion import checking, contents, measuring, running, to_onnx
from stages.conversion.checking import Predict
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared

REPORTS = Path("reports")
TIMED = 50  # predictions whose median time is recorded
ROUNDING = 0.05  # largest difference of a probability put down to rounding: GPUs may use 10 bits


def measure_latency(predict: Predict, image: np.ndarray) -> float:
    """The median time to predict one image, uint8 (1, height, width, channels), in
    milliseconds."""
    seconds = []
    for _ in range(TIMED):
        before = time.perf_counter()
        predict(image)
        seconds.append(time.perf_counter() - before)
    return round(1000 * float(np.median(seconds)), 3)


def find_selected(selection: dict[str, str]) -> Path:
    """The folder of the selected model. Raises `UserError` if its files have changed since
    `selection` was made."""
    folder = Path("models") / selection["selected"]
    for name, key in (("model.keras", "sha256"), ("training.json", "training_sha256")):
        path = folder / name
        if not path.exists() or files.sha256(path) != selection[key]:
            state = (
                "is another file than reports/selection.json was made with"
                if path.exists()
                else "is missing"
            )
            raise UserError(f"{path} {state}: run `dvc repro` or `dvc checkout`")
    return folder


def compare_as_trained(folder: Path, training: dict[str, Any], predicted: np.ndarray) -> float:
    """The largest difference between the probabilities of the test images `predicted` here, float32
    (images, classes), on TensorFlow, and those that the metrics were computed from. Raises
    `UserError` if they are of other images, or if a model trained in float32 differs by more than
    `ROUNDING`: these metrics would not be those of the exported model."""
    with np.load(folder / "predictions.npz", allow_pickle=False) as file:
        known = file["test"]
    if known.shape != predicted.shape:
        raise UserError(
            f"{folder}/predictions.npz has probabilities of {known.shape[0]:,} test images, but "
            f"data/prepared has {predicted.shape[0]:,}: run `dvc repro`"
        )
    difference = float(np.abs(known - predicted).max())
    if training["train"]["precision"] == "float32" and not difference <= ROUNDING:
        by = training["computed_by"]
        remedy = (
            f"the predictions are another model's: run `dvc repro --force --single-item "
            f"train@{folder.name}`"
            if by.startswith("tensorflow")
            else f"it was trained by {by}: train it with KERAS_BACKEND=tensorflow"
        )
        raise UserError(
            f"{folder}/model.keras, run on TensorFlow, which exports it, does not give the "
            f"probabilities in predictions.npz: they differ by up to {difference:.3f}.\n"
            f"       What to do: {remedy}"
        )
    return difference


def main() -> None:
    options = params.load()
    threads, size = options.train.threads, options.train.prediction_batch_size
    folder = find_selected(files.read_json(REPORTS / "selection.json"))
    training = files.read_json(folder / "training.json")
    data = Prepared()
    images = data.images("test")
    checking.start(threads, options.train.instruction_set)
    model = checking.in_float32(checking.load(folder / "model.keras"))
    expected = checking.predict_in_batches(model.predict_on_batch, images, size)
    as_trained = compare_as_trained(folder, training, expected)
    with files.replacing(Path("exports")) as partial:
        partial.mkdir()
        for name in ("model.keras", "training.json"):
            shutil.copy(folder / name, partial / name)
        to_onnx.convert(model, training, partial / "model.onnx")
        predict = running.make_predict(running.open_session(partial / "model.onnx", threads))
        difference = checking.require_equal("the ONNX file", predict, images, expected, size)
        measured, predict_int8 = measuring.measure_export(partial, predict, data, options)
        metrics = contents.read_metrics(REPORTS) | measured
        files.write_json(partial / "metrics.json", metrics)
        card = files.read_json(REPORTS / "data" / "card.json")
        contents.write_readme(partial, training=training, metrics=metrics, card=card)
        contents.write_digests(partial)
    files.write_json(REPORTS / "export.json", measured)
    predicts = {"keras": model.predict_on_batch, "onnx": predict}
    if predict_int8:
        predicts["int8"] = predict_int8
    latency = {name: measure_latency(predict, images[:1]) for name, predict in predicts.items()}
    files.write_json(
        folder / "latency.json", {"milliseconds for one image, median": latency, "threads": threads}
    )
    print(
        f"{folder.name}: exports/model.onnx predicts the {len(images):,} test images as the Keras "
        f"model does, to {difference:.1e}; an image takes {latency['keras']} ms in Keras, "
        f"{latency['onnx']} ms in ONNX Runtime"
    )
    if as_trained > checking.TOLERANCE:
        print(
            f"Both compute in float32 on TensorFlow; the model as it was trained, in "
            f"{training['train']['precision']} by {training['computed_by']}, gave probabilities "
            f"that differ by up to {as_trained:.1e}"
        )


if __name__ == "__main__":
    cli.run(main, __doc__)
