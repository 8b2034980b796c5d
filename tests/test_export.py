"""The exported model is the selected one, predicts the same without Keras, and is known to DVC's
registry."""

import errno
import json
import re
import sys
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from onnx import load_model_from_string, numpy_helper
from PIL import Image
from support.project import AUTHOR, Project, copy, data_json, ran

from commands import savedmodel
from commands.predicting import pictures, schemas, trained
from stages import architectures, export
from stages.conversion import checking, contents, measuring, running, to_onnx
from stages.conversion.names import DIGESTS
from stages.metrics import refusing
from stages.params.names import ACROSS, ACTIVATIONS
from stages.runtime.errors import UserError
from stages.storage import files

EXPORTED = {"README.md", "metrics.json", "model.keras", "model.onnx", "training.json"}


def test_the_onnx_file_predicts_as_the_model_does(finished: Project):
    selected = finished.find_selected()
    session = onnxruntime.InferenceSession(finished.path("exports/model.onnx"))
    obtained = session.run(
        ["probability"], {"image": np.load(finished.path("data/prepared/test.npy"))}
    )[0]
    expected = np.load(finished.path(f"models/{selected}/predictions.npz"))["test"]
    np.testing.assert_allclose(obtained, expected, atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    training = finished.read_json("exports/training.json")
    assert (
        training["model"] == selected
        and json.loads(metadata["class_names"]) == training["class_names"]
    )


def test_the_saved_model_predicts_as_the_model_does(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    savedmodel.main()
    import tensorflow

    loaded = tensorflow.saved_model.load(str(savedmodel.TARGET))
    obtained = loaded.serve([np.load("data/prepared/test.npy")]).numpy()
    selected = finished.find_selected()
    expected = np.load(f"models/{selected}/predictions.npz")["test"]
    np.testing.assert_allclose(obtained, expected, atol=1e-5)
    finished.run("sed", "-i", 's/"sha256": "/&0/', "reports/selection.json")
    with pytest.raises(UserError, match="not the model that"):
        savedmodel.main()
    finished.run("git", "checkout", "--quiet", "reports/selection.json")
    np.save("data/prepared/test.npy", np.zeros((2, 8, 8, 1), np.uint8))
    with pytest.raises(UserError, match="of the shape"):
        savedmodel.main()


def photographs(folder: Path) -> list[Path]:
    """One image of each kind that is prepared differently."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 4), np.uint8)
    pixels = np.repeat(np.repeat(pixels[:10, :20], 4, axis=0), 4, axis=1)
    images = {
        "colour.png": Image.fromarray(pixels[..., :3]),
        "rotated.jpg": Image.fromarray(pixels[..., :3]),
        "transparent.png": Image.fromarray(pixels),
        "grey.png": Image.fromarray(pixels[..., 0]),
        "grey16.png": Image.fromarray(pixels[..., 0].astype(np.uint16) * 257 + 3),
        "palette.gif": Image.fromarray(pixels[..., :3]).quantize(16),
        "cmyk.jpg": Image.fromarray(pixels[..., :3]).convert("CMYK"),
    }
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image in images.items():
        image.save(folder / name, **({"exif": exif} if name == "rotated.jpg" else {}))
    return [folder / name for name in images]


@pytest.mark.parametrize("aspect", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("channels", [(3, 3), (3, 1), (1, 3), (1, 1)])
def test_the_code_in_the_readme_prepares_an_image_as_in_training(
    tmp_path: Path, aspect: str, channels: tuple[int, int]
):
    """It runs unchanged, with a network that only records its input."""
    decoded, shape = channels[0], [14, 14, channels[1]]
    options = {"interpolation": "bicubic", "aspect": aspect, "pad_value": 9, "image_size": 14}
    options |= {"channels": None, "normalisation": "unit"}
    training = {"model": "a", "class_names": [f"row {row}" for row in range(14)]}
    training |= {"image_shape": shape, "decoded_channels": decoded, "preprocess": options}
    part = {"accuracy": 0.5, "standard_error": 0.1, "loss": 1.0}
    metrics = {"validation": part, "test": part, "selection": {"rule": "a"}}
    card = {"dataset": "a", "licence": None}
    contents.write_readme(tmp_path, training=training, metrics=metrics, card=card)
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)
    inputs_seen = []

    class Network:
        def __init__(self, path: str):
            assert path == "model.onnx"

        def run(self, names, inputs):
            inputs_seen.append(inputs["image"])
            return [np.zeros((1, 14), np.float32)]

        def get_modelmeta(self):
            metadata = {"class_names": json.dumps(training["class_names"])}
            return SimpleNamespace(custom_metadata_map=metadata)

    fields = {"train": {"threads": 1}, "file": {"sha256": "0" * 64}}
    checked = schemas.Training.model_validate_json(json.dumps(training | fields))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", Network)
        for path in photographs(tmp_path):
            patch.setattr(sys, "argv", ["", str(path)])
            exec(code, {})
            expected = pictures.prepare_content(path.read_bytes(), checked, 10**6, "")
            np.testing.assert_array_equal(inputs_seen.pop()[0], expected, err_msg=path.name)


def test_the_code_in_the_readme_runs_and_predicts_the_same(finished: Project):
    exports = finished.path("exports")
    image = np.load(finished.path("data/prepared/test.npy"))[0, ..., 0]
    Image.fromarray(image).save(exports / "photo.png")
    (code,) = re.findall(r"```python\n(.*?)```", (exports / "README.md").read_text(), re.DOTALL)
    output = Project(exports).run(sys.executable, "-c", code, "photo.png")
    rows = json.loads(finished.command("predict", "--format", "json", "exports/photo.png"))
    name, probability = output.strip().rsplit(" ", 1)
    assert name == rows[0]["class"] and abs(float(probability) - rows[0]["probability"]) < 1e-5


@pytest.mark.parametrize(("accuracy", "confidence"), [(0.5, 0.0), (0.75, 0.6), (1.0, 0.9)])
def test_the_confidence_is_the_least_that_reaches_the_accuracy(accuracy: float, confidence: float):
    """The two images with 0.6 are accepted or refused together; all images together reach 0.5, so
    none is refused then."""
    values = np.array([0.9, 0.9, 0.6, 0.6, 0.4, 0.4, 0.4, 0.4])
    probabilities = np.stack([values, (1 - values) / 2, (1 - values) / 2], axis=1)
    labels = np.array([0, 0, 0, 1, 1, 0, 1, 1])  # class 0 is always predicted
    judged = refusing.score_confidence(probabilities, labels)
    assert refusing.choose_threshold(*judged, accuracy) == confidence
    assert refusing.measure_refusal(*judged, 0.6) == {"coverage": 0.5, "accuracy": 0.75}
    assert refusing.choose_threshold(*(scores[4:] for scores in judged), 1.0) is None


def test_the_table_of_coverage_has_the_values_computed_by_hand():
    """Half of the eight validation images are right, and one of the two test images. No test
    image has a confidence of 0.9."""
    confidence = np.array([0.9, 0.9, 0.6, 0.6, 0.4, 0.4, 0.4, 0.4])
    correct = np.array([1, 1, 1, 0, 0, 1, 0, 0], bool)
    parts = {"validation": (confidence, correct), "test": (confidence[[2, 4]], correct[[2, 4]])}
    table = refusing.tabulate_coverage(parts)
    curve = table[table["accepted_accuracy"].isna()].drop(columns="accepted_accuracy").to_numpy()
    expected = [[0, 1, 0.5, 1, 0.5], [0.4, 1, 0.5, 1, 0.5], [0.6, 0.5, 0.75, 0.5, 1]]
    np.testing.assert_array_equal(curve, [*expected, [0.9, 0.25, 1, 0, np.nan]])
    chosen = table.set_index("accepted_accuracy")["confidence"]
    assert chosen[0.6] == chosen[0.7] == 0.6 and chosen[0.8] == chosen[0.999] == 0.9
    assert 0.5 not in chosen  # reached without refusing any


def run_export(project: Project) -> None:
    """Run the stage in this process, since Keras takes seconds to start."""
    with chdir(project.folder):
        export.main()


def test_predict_refuses_images_below_the_chosen_confidence(finished: Project):
    images = np.load(finished.path("data/prepared/test.npy"))[..., 0]
    labels = np.load(finished.path("data/prepared/test_labels.npy"))
    for number, image in enumerate(images):
        Image.fromarray(image).save(finished.path(f"{number:02}.png"))
    selected = finished.find_selected()
    table = pd.read_csv(finished.path(f"reports/models/{selected}/coverage.csv"))
    promised = table.dropna(subset="accepted_accuracy").iloc[0]  # as shown on the page
    wanted = float(promised["accepted_accuracy"])
    finished.edit_params(lambda params: params["export"].update(accepted_accuracy=wanted))
    assert ran(finished.dvc("repro", "--dry")) == ["export"]
    run_export(finished)
    metrics = finished.read_json("exports/metrics.json")
    refusal = metrics["refusal"]
    assert refusal["validation"]["accuracy"] >= wanted
    assert refusal["confidence"] == pytest.approx(promised["confidence"], abs=1e-5)
    for part in ("validation", "test"):
        for name, value in refusal[part].items():
            assert value == promised[f"{part}_{name}"]
    exported = finished.read_json("reports/export.json")
    assert exported == {"refusal": refusal}
    photos = [f"{number:02}.png" for number in range(len(images))]
    rows = json.loads(finished.command("predict", "--refuse", "--format", "json", *photos))
    accepted = [row["class"] is not None for row in rows]
    assert np.mean(accepted) == refusal["test"]["coverage"] and not all(accepted)
    names = finished.read_json("exports/training.json")["class_names"]
    right = [row["class"] == names[label] for row, label in zip(rows, labels)]
    assert round(sum(right) / sum(accepted), 6) == refusal["test"]["accuracy"]
    refused = rows[accepted.index(False)]
    assert refused["runners_up"][0]["probability"] == refused["probability"] < refusal["confidence"]
    assert "(refused)" in finished.command("predict", "--refuse", refused["file"])


@pytest.fixture(scope="module")
def in_8_bits(finished_template: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has exported its model in 8-bit integers too; no test changes it."""
    project = copy(finished_template, tmp_path_factory.mktemp("quantised"))
    asked = {"int8_fall": 0.2, "accepted_accuracy": 0.3}
    project.edit_params(lambda params: params["export"].update(asked))
    project.stage("export")
    return project


def test_the_8_bit_model_is_as_accurate_as_asked(in_8_bits: Project):
    measured = in_8_bits.read_json("exports/metrics.json")["int8"]
    assert measured["validation"]["float32"] - measured["validation"]["int8"] <= 0.2
    assert in_8_bits.read_json("reports/export.json")["int8"] == measured
    assert measured["refusal"]["validation"]["accuracy"] >= 0.3


def test_the_weights_of_the_8_bit_model_have_7_bits(in_8_bits: Project):
    """See `quantise`."""
    content = in_8_bits.path("exports/model.int8.onnx").read_bytes()
    assert b"QuantizeLinear" in content and b"image" in content
    tensors = map(numpy_helper.to_array, load_model_from_string(content).graph.initializer)
    weights = [tensor for tensor in tensors if tensor.dtype == np.int8 and tensor.ndim > 1]
    assert weights and max(np.abs(tensor).max() for tensor in weights) <= 64


def test_another_process_exports_equal_bytes_in_8_bits(in_8_bits: Project, tmp_path: Path):
    again = copy(in_8_bits, tmp_path)
    again.path("exports/model.int8.onnx").unlink()
    again.stage("export")
    one, other = (
        project.path("exports/model.int8.onnx").read_bytes() for project in (in_8_bits, again)
    )
    assert one == other


def test_the_8_bit_model_has_a_confidence_of_its_own(in_8_bits: Project, tmp_path: Path):
    exports = copy(in_8_bits, tmp_path).path("exports")
    metrics = files.read_json(exports / "metrics.json")
    metrics["int8"]["refusal"]["confidence"] = 0.7
    files.write_json(exports / "metrics.json", metrics)
    (exports / DIGESTS).unlink()
    contents.write_digests(exports)
    both = [trained.open_model(str(exports), int8) for int8 in (False, True)]
    before, after = map(trained.read_confidence, both)
    assert before < 0.7 == after


def test_predict_runs_the_8_bit_model_if_it_was_exported(in_8_bits: Project, tmp_path: Path):
    project = copy(in_8_bits, tmp_path)
    labels = np.load(project.path("data/prepared/test_labels.npy"))
    for number, image in enumerate(np.load(project.path("data/prepared/test.npy"))[..., 0]):
        Image.fromarray(image).save(project.path(f"{number:02}.png"))
    photos = [f"{number:02}.png" for number in range(len(labels))]
    rows = json.loads(project.command("predict", "--int8", "--format", "json", *photos))
    names = project.read_json("exports/training.json")["class_names"]
    right = np.mean([row["class"] == names[label] for row, label in zip(rows, labels)])
    assert round(right, 6) == project.read_json("exports/metrics.json")["int8"]["test"]["int8"]
    project.edit_params(lambda params: params["export"].update(int8_fall=None))
    run_export(project)
    assert "was not exported" in project.command("predict", "--int8", "00.png", status=1)


def test_losing_too_much_validation_accuracy_in_8_bits_stops_the_export(tmp_path: Path):
    for name in ("model.onnx", "model.int8.onnx"):
        (tmp_path / name).write_bytes(b"8")
    right, wrong = np.array([True] * 4), np.array([True, True, False, True])

    def score(validation: np.ndarray, test: np.ndarray) -> dict[str, Any]:
        return {"validation": (np.ones(4), validation), "test": (np.ones(4), test)}

    forms = {"float32": score(right, wrong), "int8": score(wrong, right)}
    with pytest.raises(UserError, match=r"export.int8_fall: .* 0.2500 lower"):
        measuring.compare_forms(tmp_path, forms, 0.2)
    measured = measuring.compare_forms(tmp_path, forms, 0.25)
    assert measured["validation"] == {"float32": 1, "int8": 0.75}
    assert measured["test"] == {"float32": 0.75, "int8": 1}


def test_each_exported_file_has_its_digest_and_the_metrics_are_the_reported_ones(finished: Project):
    lines = finished.path("exports/SHA256SUMS").read_text().splitlines()
    digests = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert set(digests) == EXPORTED
    for name, digest in digests.items():
        assert files.sha256(finished.path("exports") / name) == digest
    metrics = finished.read_json("exports/metrics.json")
    reported = finished.path(f"reports/models/{metrics['model']}/metrics.json")
    measured = json.loads(reported.read_text())
    for part in ("validation", "test"):
        assert metrics[part] == {name: measured[part][name] for name in metrics[part]}


def build(layers: list[dict], channels: int) -> tuple[Any, dict[str, Any], np.ndarray]:
    """A network of `layers`, its description, and six images. Its weights are seeded: with some, a
    deep network of many kinds of layers magnifies rounding errors."""
    checking.start(2, "avx512")
    import keras

    keras.utils.set_random_seed(1337)
    description = data_json([5, 5, channels], 3)
    model = architectures.build("own", "sequential", {"layers": layers}, description)
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 5, channels), np.uint8)
    return model, description, images


def require_equal_in_onnx(
    model: Any, description: dict[str, Any], images: np.ndarray, folder: Path
) -> None:
    expected = model.predict_on_batch(images)
    to_onnx.convert(model, description, folder / "model.onnx")
    predict = running.make_predict(running.open_session(folder / "model.onnx", threads=1))
    checking.require_equal("the ONNX file", predict, images, expected, 6)


@pytest.mark.parametrize(
    "layers",
    [
        [  # each activation after a convolution, then values scaled alike
            {kind: arguments}
            for activation in (*ACTIVATIONS, *ACROSS)
            for kind, arguments in (
                ("Conv2D", {"filters": 4, "kernel_size": 1, "activation": activation}),
                ("LayerNormalization", {}),
            )
        ],
        [{"Conv2D": {"filters": 6, "kernel_size": 3, "groups": 3}}],
        [{"ContrastLimitedAdaptiveHistogramEqualization": {}}],
    ],
    ids=["activations", "groups", "several outputs"],
)
def test_a_custom_network_predicts_the_same_in_onnx(tmp_path: Path, layers: list[dict]):
    layers = [*layers, {"Flatten": {}}, {"Dense": {"units": 4, "activation": "gelu"}}]
    require_equal_in_onnx(*build(layers, 3), tmp_path)


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
def test_layers_that_act_only_in_training_are_not_exported(tmp_path: Path, layer: dict):
    """By default, Keras calls the layers behind a random one as in training."""
    behind = [{"Conv2D": {"filters": 2, "kernel_size": 3}}, {"BatchNormalization": {}}]
    require_equal_in_onnx(*build([layer, *behind, {"Flatten": {}}], 1), tmp_path)


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
def test_layers_that_onnx_cannot_express_are_refused_before_training(
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


def test_a_mixed_precision_model_is_compared_in_float32(tmp_path: Path):
    """Normalization computes with constants made from its weights, as in EfficientNet."""
    layers = [
        {"Normalization": {"name": "normalization"}},
        {"Flatten": {}},
        {"Dense": {"units": 8, "activation": "relu", "dtype": "mixed_bfloat16"}},
    ]
    trained, description, images = build(layers, 1)
    normalization = trained.get_layer("normalization")
    normalization.set_weights([np.array([0.5]), np.array([0.04]), np.array(0)])
    normalization.finalize_state()
    model = checking.in_float32(trained)
    difference = np.abs(trained.predict_on_batch(images) - model.predict_on_batch(images)).max()
    assert checking.TOLERANCE < difference < 0.02
    for other in (trained.predict_on_batch, lambda images: np.full((len(images), 3), np.nan)):
        with pytest.raises(UserError, match="does not predict the same"):
            checking.require_equal("it", other, images, model.predict_on_batch(images), 6)
    require_equal_in_onnx(model, description, images, tmp_path)


def test_a_model_other_than_the_one_compared_is_not_exported(finished: Project):
    selection = finished.read_json("reports/selection.json")
    model = finished.path(f"models/{selection['selected']}/model.keras")
    content = model.read_bytes()
    model.unlink()
    model.write_bytes(content + b" ")
    assert "is another file than reports/selection.json was made with" in finished.stage(
        "export", status=1
    )
    with chdir(finished.folder):
        model.write_bytes(content)
        assert export.find_selected(selection) == model.relative_to(finished.folder).parent
        description = model.with_name("training.json")
        text = description.read_text()
        description.unlink()
        description.write_text(text.replace("stretch", "crop"))  # which changes no weight
        with pytest.raises(UserError, match="training.json is another"):
            export.find_selected(selection)


def test_a_model_that_predicts_otherwise_than_after_training_is_not_exported(finished: Project):
    selected = finished.find_selected()
    path = finished.path(f"models/{selected}/predictions.npz")
    with np.load(path) as file:
        predictions = dict(file)
    predictions["test"] = predictions["test"][:, ::-1]
    path.unlink()  # a link into DVC's cache
    np.savez(path, **predictions)
    assert f"train@{selected}" in finished.stage("export", status=1)
    training = json.loads(path.with_name("training.json").read_text())
    with pytest.raises(UserError, match="torch on cpu"):
        export.compare_as_trained(
            path.parent, training | {"computed_by": "torch on cpu"}, predictions["test"][:, ::-1]
        )


def test_the_registry_gives_the_tagged_version(finished: Project):
    finished.run("git", *AUTHOR, "tag", "--message", "first", "classifier@v1.0.0")
    finished.dvc("artifacts", "get", ".", "classifier", "--rev", "v1.0.0", "--out", "fetched")
    fetched = {path.name: path.read_bytes() for path in finished.path("fetched").iterdir()}
    assert fetched == {path.name: path.read_bytes() for path in finished.path("exports").iterdir()}
    assert set(fetched) == {*EXPORTED, "SHA256SUMS"}


def test_predictions_of_another_number_of_images_are_not_compared(tmp_path: Path):
    predicted = np.eye(3, dtype=np.float32)
    files.write_npz(tmp_path / "predictions.npz", test=predicted)
    training = {"train": {"precision": "float32"}}
    assert export.compare_as_trained(tmp_path, training, predicted) == 0
    with pytest.raises(UserError, match="predictions.npz .*3 test images.* 2"):
        export.compare_as_trained(tmp_path, training, predicted[:-1])


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(errno.ENOSPC, "no room"), OSError), (ValueError("no such operation"), UserError)],
    ids=["the system's", "the network's"],
)
def test_only_what_the_network_is_to_blame_for_is_told_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception]
):
    model, description, _ = build([{"Flatten": {}}], 1)

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(model, "export", refuse)
    with pytest.raises(raised, match=str(error.args[-1])):
        to_onnx.convert(model, description, tmp_path / "model.onnx")
