"""The exported model: the same predictions without Keras, the selected model and no other, and
known to DVC's registry."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from support.project import Project, data_json

from stages import architectures
from stages.conversion import checking, onnx


def test_the_onnx_file_predicts_as_the_model_does(finished: Project):
    selected = json.loads(finished.path("reports/selection.json").read_text())["selected"]
    session = onnxruntime.InferenceSession(finished.path("exports/model.onnx"))
    obtained = session.run(
        ["probability"], {"image": np.load(finished.path("data/prepared/test.npy"))}
    )[0]
    expected = np.load(finished.path(f"models/{selected}/predictions.npz"))["test"]
    np.testing.assert_allclose(obtained, expected, atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    training = json.loads(finished.path("exports/training.json").read_text())
    assert (
        training["model"] == selected
        and json.loads(metadata["class_names"]) == training["class_names"]
    )


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_network_of_ones_own_becomes_onnx(tmp_path: Path, activation: str):
    checking.start(threads=2)
    layers = [
        {"Conv2D": {"filters": 2, "kernel_size": 3, "activation": activation}},
        {"Flatten": {}},
    ]
    layers.append({"Dense": {"units": 4, "activation": activation}})
    description = data_json([5, 5, 1], 3)
    model = architectures.build("own", "sequential", {"layers": layers}, description)
    onnx.as_onnx(model, description, tmp_path / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 5, 1), np.uint8)
    predict = onnx.onnx_predict(tmp_path / "model.onnx", threads=1)
    checking.check("the ONNX file", predict, images, model.predict_on_batch(images))


@pytest.mark.parametrize(
    "layer",
    [
        {"RandomFlip": {}},
        {"RandAugment": {"value_range": [0, 1]}},
        {"Solarization": {"value_range": [0, 1]}},
        {"Normalization": {"mean": [0.5], "variance": [0.1]}},
    ],
    ids=lambda layer: next(iter(layer)),
)
def test_what_acts_in_training_alone_is_no_part_of_an_exported_network(tmp_path: Path, layer: dict):
    """Keras calls what stands behind a random layer as in training, where nothing else is said."""
    checking.start(threads=2)
    layers = [{"Conv2D": {"filters": 2, "kernel_size": 3}}, {"BatchNormalization": {}}]
    description = data_json([5, 5, 1], 3)
    layers = [layer, *layers, {"Flatten": {}}]
    model = architectures.build("own", "sequential", {"layers": layers}, description)
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 5, 1), np.uint8)
    expected = model.predict_on_batch(images)
    onnx.as_onnx(model, description, tmp_path / "model.onnx")
    predict = onnx.onnx_predict(tmp_path / "model.onnx", threads=1)
    checking.check("the ONNX file", predict, images, expected)


@pytest.mark.parametrize(
    ("layer", "instead"),
    [
        ({"Equalization": {"value_range": [0, 1]}}, "ContrastLimited"),
        ({"RandomCrop": {"height": 5, "width": 5}}, "augment.crop_padding"),
        ({"Resizing": {"height": 5, "width": 5, "interpolation": "bicubic"}}, "bilinear"),
        ({"Resizing": {"height": 5, "width": 5, "antialias": True}}, "without antialias"),
        ({"UpSampling2D": {"interpolation": "lanczos3"}}, "bicubic"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_onnx_cannot_express_is_refused_before_anything_is_trained(
    fresh: Project, layer: dict, instead: str
):
    def own(content) -> None:
        content["architectures"]["own"] = {
            "family": "sequential",
            "layers": [layer, {"Flatten": {}}],
        }

    fresh.edit_params(own)
    output = fresh.stage("check", status=1)
    assert "architectures.own.layers[0]" in output and "ONNX" in output and instead in output


def test_a_model_of_a_mixed_precision_is_compared_in_float32(tmp_path: Path):
    checking.start(threads=2)
    layers = [
        {"Flatten": {}},
        {"Dense": {"units": 8, "activation": "relu", "dtype": "mixed_bfloat16"}},
    ]
    description = data_json([5, 5, 1], 3)
    trained = architectures.build("own", "sequential", {"layers": layers}, description)
    model = checking.in_float32(trained)
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 5, 1), np.uint8)
    assert (
        np.abs(trained.predict_on_batch(images) - model.predict_on_batch(images)).max()
        > checking.TOLERANCE
    )
    onnx.as_onnx(model, description, tmp_path / "model.onnx")
    predict = onnx.onnx_predict(tmp_path / "model.onnx", threads=1)
    checking.check("the ONNX file", predict, images, model.predict_on_batch(images))


def test_a_model_that_was_not_compared_is_not_exported(finished: Project):
    selection = json.loads(finished.path("reports/selection.json").read_text())
    model = finished.path(f"models/{selection['selected']}/model.keras")
    content = model.read_bytes()
    model.unlink()
    model.write_bytes(content + b" ")
    assert "is another than reports/selection.json speaks of" in finished.stage("export", status=1)


def test_the_registry_gives_the_tagged_version(finished: Project):
    finished.run(
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "tag",
        "-a",
        "classifier@v1.0.0",
        "-m",
        "first",
    )
    finished.dvc("artifacts", "get", ".", "classifier", "--rev", "v1.0.0", "--out", "fetched")
    got = {path.name: path.read_bytes() for path in finished.path("fetched").iterdir()}
    assert got == {path.name: path.read_bytes() for path in finished.path("exports").iterdir()}
    assert set(got) == {"model.keras", "model.onnx", "training.json"}
