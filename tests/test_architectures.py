"""The networks of the documents, layer by layer; the schema against the code; Keras's names; lists
of layers; heads."""

import inspect
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from support.example import load_example, read_example
from support.project import ROOT, data_json, write_prepared

from stages import params
from stages.training import backend

backend.start(threads=2)

import keras  # noqa: E402

from stages import architectures, evaluate, train  # noqa: E402
from stages.architectures import googlenet, whitened  # noqa: E402
from stages.params import names  # noqa: E402
from stages.params.families import FAMILIES  # noqa: E402
from stages.runtime.errors import UserError  # noqa: E402
from stages.training import compiling, heads, recipe  # noqa: E402

TEXT = read_example()
DOCUMENTS = YAML(typ="safe").load((ROOT / "tests/architectures.yaml").read_text(encoding="utf-8"))
OPTIONS = load_example()
OF_TRAINING = ("loss_weights", "average_mirrored", "fine_tuning")  # not arguments of the network


def built(name: str, shape: list[int], classes: int = 5, **changes: Any) -> keras.Model:
    """An architecture of params.yaml, with some of its hyperparameters changed."""
    arguments = OPTIONS.architectures[name].model_dump(exclude_unset=True) | changes
    for key in OF_TRAINING:
        arguments.pop(key, None)
    return architectures.build(name, arguments.pop("family"), arguments, data_json(shape, classes))


def lines(model: keras.Model) -> Iterator[tuple[str, str]]:
    """The layers as the documents list them: (head, ``type shape parameters``)."""
    inside = 0  # parameters of the inception module that the layer belongs to
    for layer in model.layers:
        kind, head = type(layer).__name__, layer.name.split("_")[0]
        if kind in ("InputLayer", "Rescaling", "Activation"):
            continue
        inside += layer.count_params() if head == "inception" else 0
        if head == "inception" and kind != "Concatenate":
            continue
        count = layer.count_params()
        if kind == "Concatenate":
            kind, count, inside = "Inception", inside, 0
        shape = "x".join(str(side) for side in layer.output.shape[1:])
        yield head if head in architectures.OUTPUTS[1:] else "layers", f"{kind} {shape} {count}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_network_has_the_layers_and_parameters_of_its_document(name: str):
    document = DOCUMENTS[name]
    model = built(name, [int(side) for side in document["image"].split("x")], document["classes"])
    assert model.count_params() == document["parameters"]
    assert (
        sum(int(np.prod(weights.shape)) for weights in model.trainable_weights)
        == document["trainable"]
    )
    heads: dict[str, list[str]] = {}
    for head, line in lines(model):
        heads.setdefault(head, []).append(line)
    assert heads == {
        head: document[head] for head in ("layers", "auxiliary1", "auxiliary2") if head in document
    }


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("alexnet", [64, 64, 3], 24_752_901),
        ("vgg16", [64, 64, 1], 39_908_037),
        ("mobilenet-v2", [32, 32, 3], 2_264_389),
        ("sequential-example", [28, 28, 1], 1_013),
    ],
)
def test_a_network_for_other_images_has_as_many_parameters_as_its_comment_says(
    name: str, shape: list[int], parameters: int
):
    assert built(name, shape).count_params() == parameters


@pytest.mark.parametrize("top", ["own", "global_average_pooling", "global_max_pooling", "flatten"])
def test_an_application_has_as_many_parameters_with_each_top_as_with_its_own(top: str):
    own = keras.applications.MobileNet(weights=None, classes=5, input_shape=(32, 32, 3), alpha=0.25)
    arguments = {"network": "MobileNet", "top": top, "arguments": {"alpha": 0.25}}
    model = architectures.build("mine", "application", arguments, data_json([32, 32, 3], 5))
    # at 1×1 pixels the tops differ in no parameter
    assert model.count_params() == own.count_params()


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("mnist-convnet", 10),
        ("flowers-alexnet", 28),
        ("flowers-vgg16", 28),
        ("flowers-vgg16-imported", 28),
        ("flowers-googlenet", 28),
        ("flowers-googlenet", 98),
        ("sequential-example", 3),
    ],
)
def test_images_too_small_for_a_network_are_refused_with_name_and_size(name: str, side: int):
    with pytest.raises(UserError) as error:
        built(name, [side, side, 3])
    assert f"architectures.{name}" in str(error.value) and f"{side}×{side}" in str(error.value)
    assert "\x1b" not in str(error.value) and "Exception encountered" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["mnist-convnet", "fashion-2blocks-bn-before", "flowers-googlenet"]
)
def test_probabilities_are_float32_in_mixed_precision(name: str):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = built(name, [112, 112, 3])
    finally:
        keras.config.set_dtype_policy("float32")
    assert {output.dtype for output in model.outputs} == {"float32"}


def test_each_family_has_a_module_with_the_arguments_of_its_schema():
    modules = [
        import_module(f"stages.architectures.{file.stem}")
        for file in (ROOT / "stages/architectures").glob("[!_]*.py")
    ]
    functions = {
        module.__name__.split(".")[-1]: module.network
        for module in modules
        if hasattr(module, "network")
    }
    assert functions.keys() == FAMILIES.keys()
    for family, function in functions.items():
        arguments = set(inspect.signature(function).parameters) - {"x"}
        assert set(FAMILIES[family].model_fields) - {"family", *OF_TRAINING} == arguments, family


def test_auxiliary_heads_and_pooling_are_at_the_right_places():
    def list_inputs(model: keras.Model, layer: str) -> list[str]:
        (node,) = model.get_layer(layer)._inbound_nodes
        return [tensor._keras_history.operation.name for tensor in node.input_tensors]

    googlenet = built("flowers-googlenet", [224, 224, 3])
    assert list_inputs(googlenet, "auxiliary1_pool") == ["inception_4a"]
    assert list_inputs(googlenet, "auxiliary2_pool") == ["inception_4d"]
    whitened = built("cifar10-whitened", [32, 32, 3])
    kinds = [type(layer).__name__ for layer in whitened.layers]
    convolutions = [place for place, kind in enumerate(kinds) if kind == "Conv2D"]
    # in the first block, which follows the whitening
    assert kinds[convolutions[1] + 1] == "MaxPooling2D"
    assert kinds[convolutions[2] + 1] == "BatchNormalization"


def test_negative_slope_and_head_scale_reach_their_layers():
    leaky = built("mnist-convnet", [28, 28, 1], activation="leaky_relu", negative_slope=0.125)
    slopes = {layer.negative_slope for layer in leaky.layers if hasattr(layer, "negative_slope")}
    assert slopes == {0.125}
    scaled = built("cifar10-whitened", [32, 32, 3], head_scale=0.125)
    assert scaled.layers[-2].scale == 0.125


@pytest.mark.parametrize("channels", [1, 3])
def test_the_whitening_layer_gives_uncorrelated_values_of_equal_variance(
    channels: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(whitened, "CHUNK", 7)  # of 40 images: the last chunk is smaller
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, channels))
    # similar neighbours
    images = (images + np.roll(images, 1, axis=2)).astype(float).clip(0, 255).astype("uint8")
    arguments = {
        "whitening_size": 2,
        "whitening_images": 40,
        "whitening_epsilon": 1e-9,
        "filters": [8],
        "convolutions": 1,
        "kernel_size": 3,
        "pool_size": 2,
        "activation": "gelu",
        "batch_norm_momentum": 0.6,
        "head_scale": 0.1,
    }
    model = architectures.build("mine", "whitened", arguments, data_json([16, 16, channels], 3))
    architectures.adapt(model, "whitened", arguments, images)
    layer = model.get_layer("whitening")
    values = np.asarray(keras.Model(model.inputs, layer.output)([images])).reshape(
        -1, layer.filters
    )
    half = 4 * channels
    np.testing.assert_allclose(
        values[:, :half].T @ values[:, :half] / len(values), np.eye(half), atol=1e-3
    )
    np.testing.assert_array_equal(values[:, half:], -values[:, :half])
    assert not layer.trainable_weights
    # if each image is there twice, every second one gives the same filters as before
    filters = layer.get_weights()[0]
    architectures.adapt(model, "whitened", arguments, np.repeat(images, 2, axis=0)[:79])
    np.testing.assert_allclose(layer.get_weights()[0], filters, rtol=1e-3)
    architectures.adapt(model, "whitened", arguments | {"whitening_epsilon": 1e6}, images)
    norms = np.linalg.norm(layer.get_weights()[0].reshape(-1, layer.filters), axis=0)
    np.testing.assert_allclose(norms, 1e-3, rtol=1e-3)  # 1 / √(variance + ε)


def classes_of(module: Any, base: type) -> set[str]:
    """The names of the subclasses of `base` in Keras's `module`, without aliases."""
    classes = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base
    }
    return {name for name, value in classes.items() if value.__name__ == name}


def lower(class_names: set[str]) -> set[str]:
    return {name.lower() for name in class_names}


def test_the_names_of_optimizers_schedules_and_losses_are_those_of_keras():
    wrappers = {"LossScaleOptimizer", "MultiOptimizer"}  # they take optimizers
    assert set(names.OPTIMIZERS) == lower(
        classes_of(keras.optimizers, keras.optimizers.Optimizer) - wrappers
    )
    schedules = keras.optimizers.schedules
    assert set(names.SCHEDULES) == classes_of(schedules, schedules.LearningRateSchedule)
    others = {"CTC", "Circle"}  # for sequences and for embeddings
    assert {name.replace("_", "") for name in names.LOSSES} == lower(
        classes_of(keras.losses, keras.Loss) - others
    )


def test_the_names_of_activations_networks_and_layers_are_those_of_keras():
    functions = {
        name for name, value in vars(keras.activations).items() if inspect.isfunction(value)
    }
    # glu halves the channels, which a layer with an activation does not expect; threshold has
    # arguments without a default
    unusable = {"get", "serialize", "deserialize", "glu", "threshold"}
    allowed = (*names.ACTIVATIONS, *names.ACROSS, *names.ALIASES)
    assert set(allowed) == functions - unusable and len(allowed) == len(set(allowed))
    networks = {
        name for name, value in vars(keras.applications).items() if inspect.isfunction(value)
    }
    assert set(names.APPLICATIONS) == networks
    known = classes_of(keras.layers, keras.layers.Layer)
    assert set(names.LAYERS) <= known
    left_out = {
        name for name in known - set(names.LAYERS) if not name.endswith(("1D", "3D", "Cell"))
    }
    # they take several tensors, sequences, text, sound or labels, or wrap other layers
    assert left_out == {
        "Add", "AdditiveAttention", "Attention", "Average", "Bidirectional", "CategoryEncoding",
        "Concatenate", "Conv1DTranspose", "Conv3DTranspose", "ConvLSTM2D", "CutMix",
        "Discretization", "Dot", "Embedding", "FlaxLayer", "GRU", "HashedCrossing", "Hashing",
        "InputLayer", "IntegerLookup", "JaxLayer", "LSTM", "Lambda", "Masking",
        "MaxNumBoundingBoxes", "Maximum", "MelSpectrogram", "Minimum", "MixUp",
        "MultiHeadAttention", "Multiply", "Pipeline", "RNN", "RepeatVector",
        "ReversibleEmbedding", "STFTSpectrogram", "SimpleRNN", "SpectralNormalization",
        "StackedRNNCells", "StringLookup", "Subtract", "TFSMLayer", "TextVectorization",
        "TimeDistributed", "TorchModuleWrapper", "Wrapper",
    }  # fmt: skip


def test_every_name_gives_its_keras_object():
    fixed = {
        "schedule": None,
        "schedule_arguments": {},
        "learning_rate": None,
        "optimizer_arguments": {},
        "loss_arguments": {},
    }
    for name in names.OPTIMIZERS:
        train = OPTIONS.train.model_copy(update=fixed | {"optimizer": name})
        assert type(recipe.build_optimizer(train, batches=1)).__name__.lower() == name
    labels = np.array([0, 3, 1])
    right = 0.01 + 0.96 * np.eye(4)[labels]
    for name in names.LOSSES:
        train = OPTIONS.train.model_copy(update=fixed | {"loss": name})
        chosen = recipe.build_loss(train)
        assert type(chosen).__name__.lower() == name.replace("_", "")
        true = labels if recipe.takes_class_numbers(train) else np.eye(4)[labels]
        assert chosen(true, right) < chosen(true, right[:, ::-1]), name
    for name in names.ACTIVATIONS:
        assert callable(keras.activations.get(name))


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        ("- Conv2d: {filters: 3}", ["layers[0]", "'Conv2d'", "Conv2D"]),
        ("- LSTM: {units: 3}", ["layers[0]", "'LSTM'"]),
        ("- Flatten", ["layers[0]", "one key"]),
        ("- Activation: {activation: glu}", ["layers[0]", "'glu'", "gelu"]),
        ("- {Flatten: {}, Dense: {units: 3}}", ["layers[0]", "one key"]),
        ("- Flatten: {}\n    - Dense: 3", ["layers[1]", "Dense"]),
    ],
)
def test_a_bad_list_of_layers_is_refused_before_keras_is_needed(
    tmp_path: Path, layer: str, named: list[str]
):
    file = tmp_path / "params.yaml"
    file.write_text(
        TEXT.replace(
            "architectures:",
            f"architectures:\n  of-this-test:\n    family: sequential\n    layers:\n    {layer}\n#",
            1,
        )
    )
    with pytest.raises(UserError) as error:
        params.load(file)
    for part in (f"architectures.of-this-test.{named[0]}", *named[1:]):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        (
            [{"Conv2D": {"filters": 3, "kernel_size": 3, "filterz": 3}}],
            ["layers[0]", "Conv2D", "filterz"],
        ),
        ([{"Flatten": None}, {"Dense": {}}], ["layers[1]", "Dense", "units"]),
        (
            [{"Flatten": None}, {"Conv2D": {"filters": 3, "kernel_size": 3}}],
            ["layers[1]", "Conv2D", "ndim"],
        ),
        ([{"Dropout": {"rate": 2}}], ["layers[0]", "Dropout", "rate"]),
        ([{"Conv2D": {"filters": "many", "kernel_size": 3}}], ["layers[0]", "Conv2D", "many"]),
        ([{"Conv2D": {"filters": 3, "kernel_size": 3}}], ["Flatten", "(26, 26, 3)"]),
    ],
)
def test_a_bad_list_of_layers_is_refused_when_it_is_built(layers: list, named: list[str]):
    with pytest.raises(UserError) as error:
        architectures.build("mine", "sequential", {"layers": layers}, data_json([28, 28, 1], 5))
    for part in ("architectures.mine", *named):
        assert part in str(error.value)


def test_a_network_that_is_sure_of_a_wrong_class_still_learns():
    """Its logits are 100 apart; from the probabilities, 1 and 4e-44, the loss would be clipped."""
    keras.utils.set_random_seed(1)
    train = OPTIONS.train.model_copy(update={"loss": "categorical_crossentropy"})
    inputs = keras.Input((2,))
    layer = keras.layers.Dense(2, "softmax", name=architectures.CLASSIFIER)
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign(100 * np.eye(2))
    image, wrong = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    trainer = heads.MultiHeadModel(model.inputs, model.outputs)
    with heads.giving_logits(model, when=True):
        compiling.compile_model(trainer, keras.optimizers.SGD(1.0), train)
        logs = trainer.evaluate(image, wrong, verbose=0, return_dict=True)
        trainer.fit(image, wrong, verbose=0)
    assert logs == pytest.approx({"loss": 100, "accuracy": 0, "mean_squared_error": 1})
    np.testing.assert_allclose(layer.kernel, [[99, 1], [0, 100]])
    np.testing.assert_allclose(model.predict(image, verbose=0), [[1, 0]], atol=1e-6)


def test_a_network_with_auxiliary_heads_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Three heads pass the stages train and evaluate. A small network stands in for GoogLeNet,
    which takes 12 s."""

    def small(x, **arguments):
        x = keras.layers.Flatten()(x)
        return [keras.layers.Dropout(0.1)(x), keras.layers.Dense(4)(x), x]

    monkeypatch.setattr(googlenet, "network", small)
    content = YAML().load(TEXT)
    content["architectures"]["flowers-googlenet"]["loss_weights"] = [1.0, 0.3, 0.5]
    content["train"] |= {"epochs": 2, "batch_size": 4, "prediction_batch_size": 4}
    content["train"]["early_stopping"]["monitor"] = "val_accuracy"
    content["train"]["loss"] = "categorical_crossentropy"
    monkeypatch.chdir(tmp_path)
    YAML().dump(content, Path("params.yaml"))
    random = np.random.default_rng(0)
    parts = {
        part: (random.integers(0, 256, (8, 6, 6, 1), dtype=np.uint8), np.arange(8) % 3)
        for part in ("train", "validation", "test")
    }
    made_with = {"dataset": content["dataset"], "preprocess": OPTIONS.preprocess.model_dump()}
    write_prepared(Path("data/prepared"), parts, 3, **made_with)

    train.main("flowers-googlenet")
    evaluate.main("flowers-googlenet")

    folder, reports = Path("models/flowers-googlenet"), Path("reports/models/flowers-googlenet")
    history = pd.read_csv(folder / "history.csv", index_col="epoch")
    figures = {
        f"{head}{figure}"
        for head in ("", "auxiliary1_", "auxiliary2_")
        for figure in ("accuracy", "loss", "mean_squared_error")
    } | {"combined_loss"}
    expected = figures | {f"val_{figure}" for figure in figures} | {"learning_rate"}
    assert set(history.columns) == expected
    losses = (
        history["val_loss"]
        + 0.3 * history["val_auxiliary1_loss"]
        + 0.5 * history["val_auxiliary2_loss"]
    )
    np.testing.assert_allclose(losses, history["val_combined_loss"], atol=1e-5)
    with np.load(folder / "predictions.npz") as predictions:
        predicted = dict(predictions)
    heads = ("", "_auxiliary1", "_auxiliary2")
    assert list(predicted) == [f"{part}{head}" for part in ("validation", "test") for head in heads]
    assert all(array.shape == (8, 3) and array.dtype == np.float32 for array in predicted.values())
    kept = json.loads((folder / "training.json").read_text())["kept_epoch"]
    error = ((predicted["validation"] - np.eye(3)[np.arange(8) % 3]) ** 2).mean()
    assert history["val_mean_squared_error"][kept] == pytest.approx(error, abs=1e-5)
    metrics = json.loads((reports / "metrics.json").read_text())
    assert (
        metrics["validation"]["accuracy"]
        == history["val_accuracy"][kept]
        == history["val_accuracy"].max()
    )
    for head in ("auxiliary1", "auxiliary2"):
        assert (
            metrics["heads"][head]["validation_accuracy"] == history[f"val_{head}_accuracy"][kept]
        )
