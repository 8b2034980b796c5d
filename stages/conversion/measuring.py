"""What is measured of an exported network: below which confidence to refuse, and what 8-bit
integers cost."""

from pathlib import Path
from typing import Any

from stages.conversion import checking, int8, running
from stages.conversion.checking import Predict
from stages.conversion.names import INT8
from stages.metrics import refusing
from stages.metrics.refusing import Scored
from stages.params.schema import Params
from stages.runtime.errors import UserError
from stages.storage.prepared import Prepared


def score_parts(predict: Predict, data: Prepared, size: int) -> dict[str, Scored]:
    """Confidence and correctness of the predictions of the validation and the test set, predicting
    `size` images at a time."""
    return {
        part: refusing.score_confidence(
            checking.predict_in_batches(predict, data.images(part), size), data.labels(part)
        )
        for part in ("validation", "test")
    }


def choose_refusal(parts: dict[str, Scored], accuracy: float, network: str = "") -> dict[str, Any]:
    """Choose the confidence below which to refuse on the validation set, and measure it on both
    `parts`. Raises `UserError` if no confidence reaches `accuracy`."""
    confidence = refusing.choose_threshold(*parts["validation"], accuracy)
    if confidence is None:
        raise UserError(
            f"params.yaml: export.accepted_accuracy: {accuracy} is not reached on the validation "
            f"part{network}, however few images are classified: lower it, or leave it empty"
        )
    measured = {
        part: refusing.measure_refusal(*scores, confidence) for part, scores in parts.items()
    }
    return {"accepted_accuracy": accuracy, "confidence": confidence, **measured}


def compare_forms(folder: Path, forms: dict[str, dict[str, Scored]], fall: float) -> dict[str, Any]:
    """Compare model.onnx and model.int8.onnx in `folder`: the accuracies of the two `forms`,
    float32 and int8, on each part, and their sizes. Raises `UserError` if the validation accuracy
    falls by more than `fall`."""
    measured: dict[str, Any] = {
        part: {name: round(float(parts[part][1].mean()), 6) for name, parts in forms.items()}
        for part in ("validation", "test")
    }
    paths = {"float32": folder / "model.onnx", "int8": folder / INT8}
    measured["bytes"] = {name: path.stat().st_size for name, path in paths.items()}
    lost = round(measured["validation"]["float32"] - measured["validation"]["int8"], 6)
    if lost > fall:
        raise UserError(
            f"params.yaml: export.int8_fall: in 8-bit integers the validation accuracy is "
            f"{lost:.4f} lower, and at most {fall} is allowed: raise it, or leave it empty"
        )
    return measured


def measure_export(
    folder: Path, predict: Predict, data: Prepared, options: Params
) -> tuple[dict[str, Any], Predict | None]:
    """The content of export.json: below which confidence to refuse, and how 8-bit integers compare,
    each only if it is asked for. `predict` is that of model.onnx in `folder`. Returns also that of
    model.int8.onnx, which is written beside it."""
    accuracy, fall = options.export.accepted_accuracy, options.export.int8_fall
    threads, size = options.train.threads, options.train.prediction_batch_size
    measured: dict[str, Any] = {}
    if not accuracy and fall is None:
        return measured, None
    forms = {"float32": score_parts(predict, data, size)}
    if accuracy:
        measured["refusal"] = choose_refusal(forms["float32"], accuracy)
    if fall is None:
        return measured, None
    int8.quantise(folder / "model.onnx", folder / INT8, data.images("train"))
    predict_int8 = running.make_predict(running.open_session(folder / INT8, threads))
    forms["int8"] = score_parts(predict_int8, data, size)
    measured["int8"] = compare_forms(folder, forms, fall)
    if accuracy:
        refusal = choose_refusal(forms["int8"], accuracy, " in 8-bit integers")
        measured["int8"]["refusal"] = refusal
    return measured, predict_int8
