"""Convert the selected model to a TensorFlow SavedModel, for TensorFlow Serving and the like:
``make savedmodel``.

Reads ``exports/model.keras`` and the test images; replaces ``savedmodel/``. Fails unless the
SavedModel predicts the images like the Keras model, in float32. TensorFlow writes different bytes
each time, so DVC does not track the folder.
"""

from pathlib import Path

from stages import params
from stages.conversion import checking, to_onnx
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared

TARGET = Path("savedmodel")


def main() -> None:
    cli.require_project()
    train = params.load().train
    source, selection = Path("exports/model.keras"), Path("reports/selection.json")
    if not source.exists():
        raise UserError(f"{source} is missing: run `dvc repro` to make it")
    stopped = "run `dvc repro`; the last run was stopped early"
    if files.sha256(source) != files.read_json(selection)["sha256"]:
        raise UserError(f"{source} is not the model that {selection} names: {stopped}")
    images = Prepared().images("test")
    shape = files.read_json(source.with_name("training.json"))["image_shape"]
    if list(images.shape[1:]) != shape:
        raise UserError(
            f"{source} takes images of the shape {shape}, but those in data/prepared have "
            f"{list(images.shape[1:])}: {stopped}"
        )
    checking.start(train.threads, train.instruction_set)
    import tensorflow

    size = train.prediction_batch_size
    network = checking.in_float32(checking.load(source))
    expected = checking.predict_in_batches(network.predict_on_batch, images, size)
    model = to_onnx.prepare_for_inference(network)
    with files.replacing(TARGET) as partial:
        model.export(partial, verbose=False)
        loaded = tensorflow.saved_model.load(partial)
        difference = checking.require_equal(
            "the SavedModel", lambda batch: loaded.serve([batch]), images, expected, size
        )
    print(
        f"{TARGET}: predicts the {len(images):,} test images as {source} does, to {difference:.1e}"
    )


if __name__ == "__main__":
    cli.run(main, __doc__)
