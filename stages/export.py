"""Stage export: the selected model in a folder of its own, also as ONNX, which needs neither Keras
nor Python, with all that is needed to use it elsewhere.

Reads ``reports/`` (selection, comparison, data card), ``models/NAME/`` and the test images, for
refusal and 8-bit integers those of the other parts too; writes into ``exports/`` the files below,
and into ``reports/export.json`` what was asked for and measured here: refusal and int8 of
metrics.json.

    model.keras      the selected model, as it was trained
    training.json    what is needed to use it: class names, image shape, preprocess
    model.onnx       the same network; its metadata holds class_names and preprocess as JSON
    metrics.json     its metrics, how it was selected, and the confidence below which to refuse, if
                     ``export.accepted_accuracy`` asks for one; another one in 8-bit integers
    model.int8.onnx  the same in 8-bit integers, if ``export.int8_fall`` asks for it
    README.md        how to use it: lines of Python that run as they stand; licences
    SHA256SUMS       digests of the files

On the test set, the ONNX file must predict as the Keras model does, within `TOLERANCE`. It
computes in float32. For a model of mixed precision it is compared with the Keras model in float32.
The stage prints by how much that differs from the model as it was trained, where it does, and
refuses one of float32 that another backend trained and computes otherwise. The time per image of
both goes to ``models/NAME/latency.json``, which DVC does not track. Takes 6 seconds.
"""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from stages import params
from stages.conversion import checking, contents, int8, onnx, running
from stages.conversion.checking import Predict
from stages.conversion.names import INT8
from stages.metrics import refusing
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared

REPORTS = Path("reports")
TIMED = 50  # predictions whose median time is recorded
SAME = 0.05  # difference of a probability that can come of rounding, on a GPU to 10 bits


def measure_latency(predict: Predict, image: np.ndarray) -> float:
    """The median time of predicting one image, (1, height, width, channels)."""
    seconds = []
    for _ in range(TIMED):
        before = time.perf_counter()
        predict(image)
        seconds.append(time.perf_counter() - before)
    return round(1000 * float(np.median(seconds)), 3)


def find_selected(selection: dict[str, str]) -> Path:
    """The folder of the selected model. Raises `UserError` unless its files are those that
    `selection` was made with."""
    folder = Path("models") / selection["selected"]
    for name, key in (("model.keras", "sha256"), ("training.json", "training_sha256")):
        path = folder / name
        if not path.exists() or files.sha256(path) != selection[key]:
            state = (
                "is another than reports/selection.json speaks of"
                if path.exists()
                else "is missing"
            )
            raise UserError(f"{path} {state}: `dvc repro` or `dvc checkout` brings it back")
    return folder


def compare_as_trained(folder: Path, training: dict[str, Any], predicted: np.ndarray) -> float:
    """By how much the probabilities `predicted` here, in float32 on TensorFlow, differ at most from
    those that the metrics were computed from. Raises `UserError` where that is no matter of
    rounding, so that these would not be the metrics of what is exported."""
    with np.load(folder / "predictions.npz", allow_pickle=False) as file:
        difference = float(np.abs(file["test"] - predicted).max())
    if training["train"]["precision"] == "float32" and not difference <= SAME:
        by = training["computed_by"]
        remedy = (
            f"the predictions are another model's: `dvc repro --force --single-item "
            f"train@{folder.name}`"
            if by.startswith("tensorflow")
            else f"it was trained by {by}: train it with KERAS_BACKEND=tensorflow"
        )
        raise UserError(
            f"{folder}/model.keras predicts otherwise on TensorFlow, which exports it, than "
            f"predictions.npz beside it says: probabilities differ by up to {difference:.3f}.\n"
            f"       What to do: {remedy}"
        )
    return difference


def choose_refusal(
    predict: Predict, data: Prepared, accuracy: float, network: str = ""
) -> dict[str, Any]:
    """The confidence below which answers are to be refused, chosen on the validation set, and what
    it does on both parts. Raises `UserError` where no confidence reaches `accuracy`."""
    parts = {
        part: refusing.score_confidence(
            checking.predict_in_batches(predict, data.images(part)), data.labels(part)
        )
        for part in ("validation", "test")
    }
    confidence = refusing.choose_confidence(*parts["validation"], accuracy)
    if confidence is None:
        raise UserError(
            f"params.yaml: export.accepted_accuracy: {accuracy} is not reached on the validation "
            f"part{network}, however few images are classified: ask for less, or leave it empty"
        )
    found = {part: refusing.measure_refusal(*one, confidence) for part, one in parts.items()}
    return {"accepted_accuracy": accuracy, "confidence": confidence, **found}


def convert_to_int8(folder: Path, data: Prepared, threads: int, fall: float) -> dict[str, Any]:
    """Write model.int8.onnx beside model.onnx, and give accuracies and sizes of both. Raises
    `UserError` where the validation accuracy falls by more than `fall`."""
    paths = {"float32": folder / "model.onnx", "int8": folder / INT8}
    int8.quantise(paths["float32"], paths["int8"], data.images("train"))
    found: dict[str, Any] = {"validation": {}, "test": {}, "bytes": {}}
    for name, path in paths.items():
        predict = running.make_predict(running.open_session(path, threads))
        for part in ("validation", "test"):
            predicted = checking.predict_in_batches(predict, data.images(part)).argmax(axis=1)
            found[part][name] = round(float((predicted == data.labels(part)).mean()), 6)
        found["bytes"][name] = path.stat().st_size
    lost = round(found["validation"]["float32"] - found["validation"]["int8"], 6)
    if lost > fall:
        raise UserError(
            f"params.yaml: export.int8_fall: in 8-bit integers the validation accuracy is "
            f"{lost:.4f} lower, and {fall} is allowed: allow more, or leave it empty"
        )
    return found


def main() -> None:
    options = params.load()
    threads = options.train.threads
    folder = find_selected(files.read_json(REPORTS / "selection.json"))
    training = files.read_json(folder / "training.json")
    data = Prepared()
    images = data.images("test")
    checking.start(threads, options.train.instruction_set)
    model = checking.in_float32(checking.load(folder / "model.keras"))
    expected = checking.predict_in_batches(model.predict_on_batch, images)
    as_trained = compare_as_trained(folder, training, expected)
    with files.replacing(Path("exports")) as partial:
        partial.mkdir()
        for name in ("model.keras", "training.json"):
            shutil.copy(folder / name, partial / name)
        onnx.convert(model, training, partial / "model.onnx")
        predict = running.make_predict(running.open_session(partial / "model.onnx", threads))
        difference = checking.require_equal("the ONNX file", predict, images, expected)
        metrics = contents.read_metrics(REPORTS)
        if accuracy := options.export.accepted_accuracy:
            metrics["refusal"] = choose_refusal(predict, data, accuracy)
        predicts = {"keras": model.predict_on_batch, "onnx": predict}
        if (fall := options.export.int8_fall) is not None:
            metrics["int8"] = convert_to_int8(partial, data, threads, fall)
            predicts["int8"] = running.make_predict(running.open_session(partial / INT8, threads))
            if accuracy:
                metrics["int8"]["refusal"] = choose_refusal(
                    predicts["int8"], data, accuracy, " in 8-bit integers"
                )
        files.write_json(partial / "metrics.json", metrics)
        asked = {name: metrics[name] for name in ("refusal", "int8") if name in metrics}
        files.write_json(REPORTS / "export.json", asked)
        card = files.read_json(REPORTS / "data" / "card.json")
        contents.write_readme(partial, training=training, metrics=metrics, card=card)
        contents.write_digests(partial)
    latency = {name: measure_latency(one, images[:1]) for name, one in predicts.items()}
    files.write_json(
        folder / "latency.json", {"milliseconds for one image, median": latency, "threads": threads}
    )
    print(
        f"{folder.name}: exports/model.onnx predicts the {len(images):,} test images as the Keras "
        "model does, "
        f"to {difference:.1e}; an image takes {latency['keras']} ms in Keras, {latency['onnx']} ms "
        "in ONNX Runtime"
    )
    if as_trained > checking.TOLERANCE:
        print(
            f"Both in float32 on TensorFlow; as it was trained, in "
            f"{training['train']['precision']} by {training['computed_by']}, it gave probabilities "
            f"that differ by up to {as_trained:.1e}"
        )


if __name__ == "__main__":
    cli.run(main, __doc__)
