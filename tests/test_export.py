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
