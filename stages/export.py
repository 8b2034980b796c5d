"""Stage export: the selected model in a place of its own, and as ONNX, which needs neither Keras nor Python.

Reads ``reports/selection.json``, ``models/NAME/`` and the test images; writes into ``exports/``:

    model.keras      the selected model, as it was trained
    training.json    what using it needs: class names, image shape, preprocess
    model.onnx       the same network; its metadata holds class_names and preprocess as JSON

The ONNX file must give the predictions of the Keras model on the test part, to `TOLERANCE`. It computes in float32; for a model of
a mixed precision that means the Keras model in float32, and the stage says by how much that differs from the model as it is. How
long both take for an image goes to ``models/NAME/latency.json``, which DVC does not track. Takes 6 seconds.
"""

import json
import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages import backend, cli, files, params
from stages.cli import UserError
from stages.data import Prepared

if TYPE_CHECKING:
    import keras
    import onnx

TOLERANCE = 1e-5  # between the probabilities of two forms of a model
BATCH = 250  # images that are predicted at a time
TIMED = 50  # predictions whose median time is recorded

Predict = Callable[[np.ndarray], np.ndarray]  # images uint8 (images, height, width, channels) → probabilities (images, classes)


def start(threads: int) -> None:
    """Import Keras on TensorFlow, whichever backend trained: a .keras file is the same for all."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    backend.start(threads)


def load(path: Path) -> "keras.Model":
    """The model in `path` with its main output alone."""
    import keras

    saved = keras.saving.load_model(path, compile=False)
    return keras.Model(saved.inputs, saved.outputs[0], name=saved.name)


def in_float32(model: "keras.Model") -> "keras.Model":
    """The model itself, or, where it was trained in a mixed precision, one with its weights that computes in float32."""
    import keras

    config = json.dumps(model.get_config())
    if "mixed_" not in config:
        return model
    full = keras.Model.from_config(json.loads(config.replace("mixed_bfloat16", "float32").replace("mixed_float16", "float32")))
    full.set_weights(model.get_weights())
    return full


def batches(predict: Predict, images: np.ndarray) -> np.ndarray:
    """The probabilities of all `images`, predicted `BATCH` at a time."""
    return np.concatenate([np.asarray(predict(images[first : first + BATCH])) for first in range(0, len(images), BATCH)])


def check(what: str, predict: Predict, images: np.ndarray, expected: np.ndarray) -> float:
    """The greatest difference of a probability from `expected`, float (images, classes). Raises `UserError` above `TOLERANCE`."""
    difference = float(np.abs(batches(predict, images) - expected).max())
    if not difference <= TOLERANCE:
        raise UserError(f"{what} predicts otherwise than the Keras model: probabilities differ by {difference:.1e}")
    return difference


def as_onnx(model: "keras.Model", training: dict[str, Any], path: Path) -> None:
    """Write `model` as ONNX, with an input `image` and an output `probability` for any number of images."""
    import keras
    import onnx

    teach_erfc()
    signature = [keras.InputSpec(shape=model.input_shape, dtype="uint8", name="image")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of numpy, about the converter
        model.export(path, format="onnx", verbose=False, input_signature=signature)
    converted = onnx.load(path)
    graph = converted.graph
    settle(graph)
    for tensor in (graph.input[0], graph.output[0]):
        tensor.type.tensor_type.shape.dim[0].dim_param = "images"
    used = ("class_names", "decoded_channels", "preprocess")
    onnx.helper.set_model_props(converted, {key: json.dumps(training[key], ensure_ascii=False) for key in used})
    onnx.checker.check_model(converted)
    path.write_bytes(converted.SerializeToString(deterministic=True))


def teach_erfc() -> None:
    """Let the converter write TensorFlow's Erfc, which the activation gelu is made of and ONNX lacks, as 1 - Erf."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, graph, node, **_):
            graph.remove_node(node.name)
            erf = graph.make_node("Erf", node.input)
            one = graph.make_const(f"{node.name}/one", np.float32(1))
            graph.make_node("Sub", [one.output[0], erf.output[0]], outputs=node.output)


def settle(graph: "onnx.GraphProto") -> None:
    """Name everything by its place, and order the constants by their first use: the converter's names depend on addresses in
    memory and on the seed of Python's hashes. What comes in and goes out is called image and probability."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used = dict.fromkeys(name for node in graph.node for name in node.input if name in constants)
    names = {"": ""}  # of an optional input that is left out
    names |= {name: f"constant{number}" for number, name in enumerate(used, start=1)}
    names |= {name: f"{node.op_type}{number}" for number, node in enumerate(graph.node, start=1) for name in node.output}
    names |= {graph.input[0].name: "image", graph.output[0].name: "probability"}
    for node in graph.node:
        node.name = names[node.output[0]]
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    graph.input[0].name, graph.output[0].name, graph.name = "image", "probability", "network"
    del graph.initializer[:], graph.value_info[:]
    for name in used:
        constants[name].name = names[name]
        graph.initializer.append(constants[name])


def onnx_predict(path: Path, threads: int) -> Predict:
    """What ONNX Runtime predicts with the file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probability"], {"image": np.ascontiguousarray(images)})[0]


def milliseconds(predict: Predict, image: np.ndarray) -> float:
    """The median time of predicting one image, (1, height, width, channels)."""
    seconds = []
    for _ in range(TIMED):
        before = time.perf_counter()
        predict(image)
        seconds.append(time.perf_counter() - before)
    return round(1000 * float(np.median(seconds)), 3)


def checked(selection: dict[str, str]) -> Path:
    """The folder of the selected model. Raises `UserError` unless its file is the one that `selection` was made with."""
    folder = Path("models") / selection["selected"]
    path = folder / "model.keras"
    if not path.exists() or files.sha256(path) != selection["sha256"]:
        state = "is another than reports/selection.json speaks of" if path.exists() else "is missing"
        raise UserError(f"{path} {state}: `dvc repro` or `dvc checkout` brings it back")
    return folder


def main() -> None:
    threads = params.load().train.threads
    folder = checked(files.read_json(Path("reports/selection.json")))
    training = files.read_json(folder / "training.json")
    images = Prepared().images("test")
    start(threads)
    trained = load(folder / "model.keras")
    model = in_float32(trained)
    expected = batches(model.predict_on_batch, images)
    with files.replacing(Path("exports")) as partial:
        partial.mkdir()
        for name in ("model.keras", "training.json"):
            shutil.copy(folder / name, partial / name)
        as_onnx(model, training, partial / "model.onnx")
        predict = onnx_predict(partial / "model.onnx", threads)
        difference = check("the ONNX file", predict, images, expected)
    latency = {name: milliseconds(one, images[:1]) for name, one in (("keras", model.predict_on_batch), ("onnx", predict))}
    files.write_json(folder / "latency.json", {"milliseconds for one image, median": latency, "threads": threads})
    print(f"{folder.name}: exports/model.onnx predicts the {len(images):,} test images as the Keras model does, "
          f"to {difference:.1e}; an image takes {latency['keras']} ms in Keras, {latency['onnx']} ms in ONNX Runtime")  # fmt: skip
    if model is not trained:
        as_trained = np.abs(batches(trained.predict_on_batch, images) - expected).max()
        print(f"Both in float32; as it was trained, in {training['train']['precision']}, "
              f"the Keras model gives probabilities that differ by up to {as_trained:.1e}")  # fmt: skip


if __name__ == "__main__":
    cli.run(main, __doc__)
