"""TensorFlow's arithmetic in this project: no results that depend on the processor's vendor, batch
norm in one operation, and plain Keras layers in the saved file."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.project import own_environment

from stages.training import backend

backend.start(threads=2)

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.python.eager import context  # noqa: E402

from stages.training import arithmetic, saving  # noqa: E402

make = keras.layers
# operations whose machine code uses the processor's estimates
ESTIMATES = {"Rsqrt", "Reciprocal", "Inv", "Erfc", "Atan", "Atan2", "LRN", "_UnaryOpsComposition"}
ESTIMATES |= {"FusedBatchNormV3", "FusedBatchNormGradV3", "Softmax"}  # without oneDNN
NORMALISING = [
    make.BatchNormalization(),
    make.BatchNormalization(trainable=False),
    make.BatchNormalization(axis=1),
    make.BatchNormalization(renorm=True),
    make.LayerNormalization(),
    make.GroupNormalization(2),
    make.RMSNormalization(),
    make.UnitNormalization(),
    make.Normalization(mean=[1.0] * 8, variance=[2.0] * 8),
    make.SpectralNormalization(make.Dense(8)),
]
ACTIVATIONS = ["gelu", "silu", "softplus", "selu", "mish", "tanh", "log_softmax", "softmax"]
AUGMENTING = [
    make.RandomRotation(0.1),
    make.RandomZoom(0.1),
    make.RandomTranslation(0.1, 0.1),
    make.RandomShear(0.1),
]


def operations_of(function) -> set[str]:
    """The names of the operations that TensorFlow runs in it, after optimizing the graph."""
    context.context().enable_graph_collection()
    function()
    graphs = context.context().export_run_metadata().partition_graphs
    context.context().disable_graph_collection()
    functions = [function for graph in graphs for function in graph.library.function]
    return {node.op for graph in graphs for node in graph.node} | {
        node.op for function in functions for node in function.node_def
    }


def data(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, 2.0, shape).astype(np.float32)


@pytest.mark.parametrize("optimizer", ["RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW"])
def test_no_operation_in_a_training_uses_the_processors_estimates(optimizer: str):
    keras.utils.set_random_seed(1)
    inputs = x = keras.Input((6, 6, 8))
    if optimizer == "RMSprop":  # all layers are tried once
        for layer in [*AUGMENTING, *NORMALISING, *map(make.Activation, ACTIVATIONS)]:
            x = layer(x)
    x = make.Dense(3, activation="softmax", kernel_constraint="unit_norm")(make.Flatten()(x))
    # Identity hides the logits from Keras: the loss takes the logarithm of the probabilities
    model = keras.Model(inputs, make.Identity()(x))
    model.compile(optimizer, "sparse_categorical_crossentropy")
    images, labels = data((20, 6, 6, 8)), np.arange(20) % 3
    trained = operations_of(lambda: model.fit(images, labels, verbose=0))
    predicted = operations_of(lambda: model.predict(images, verbose=0))
    assert {"RealDiv", "Sqrt"} & trained and "MatMul" in " ".join(predicted)
    assert not ESTIMATES & (trained | predicted)


def test_roots_and_quotients_are_the_nearest_floats():
    x = np.random.default_rng(0).uniform(0.01, 10, 10_000).astype(np.float32)
    for function in (keras.ops.rsqrt, tf.function(lambda x: 1.0 / tf.sqrt(x))):
        np.testing.assert_array_equal(function(x), 1 / np.sqrt(x))
    for function in (keras.ops.reciprocal, tf.function(lambda x: 1.0 / x)):
        np.testing.assert_array_equal(function(x), 1 / x)


@pytest.mark.parametrize("slope", [0.3, 0.0, -0.5])
def test_leaky_relu_has_tensorflows_values_and_gradients(slope: float):
    x = tf.constant([-1e-45, -0.0, 0.0, 1e-45, np.nan, *data((100,))], tf.float32)
    values_and_gradients = []
    for function in (keras.ops.leaky_relu, arithmetic.LEAKY_RELU):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x, slope)
        values_and_gradients.append(np.stack([y, tape.gradient(y, x)]))
    np.testing.assert_array_equal(*values_and_gradients)


def test_no_leaky_relu_is_computed_apart_from_its_convolution():
    keras.utils.set_random_seed(1)
    network = [make.Conv2D(4, 3), make.LeakyReLU(0.3), make.Flatten(), make.Dense(3)]
    model = keras.Sequential([keras.Input((6, 6, 3)), *network])
    model.compile("sgd", "mse")
    images = data((20, 6, 6, 3))
    assert "LeakyRelu" not in operations_of(lambda: model.fit(images, images[:, 0, 0], verbose=0))


def results(layer: keras.Layer, x: np.ndarray, training: bool) -> list[np.ndarray]:
    """A layer's output, gradients by input and weights, and weights afterwards, in a graph."""
    upstream = tf.constant(data(x.shape, 9))

    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) * upstream)
        return y, *tape.gradient(loss, [x, *[weight.value for weight in layer.trainable_variables]])

    tensors = run(tf.constant(x, layer.compute_dtype))
    return [np.asarray(tf.cast(tensor, tf.float32)) for tensor in (*tensors, *layer.weights)]


PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SHAPES = ((7, 5, 5, 12), (1, 3, 3, 12), (7, 12), (7, 4, 12))
OPTIONS = ({}, {"trainable": False}, {"scale": False, "center": False, "epsilon": 1e-6})


@pytest.mark.parametrize(  # each pair of the three occurs
    ("precision", "shape", "options"),
    [
        (precision, shape, OPTIONS[(i + j) % len(OPTIONS)])
        for i, precision in enumerate(PRECISIONS)
        for j, shape in enumerate(SHAPES)
    ],
)
def test_batch_norm_equals_keras_own_up_to_rounding(precision: str, shape: tuple, options: dict):
    x = data(shape)
    for training in (True, False):
        obtained, expected = [], []
        for call, into in ((arithmetic.batch_norm, obtained), (arithmetic.KERAS_CALL, expected)):
            kind = type("BatchNormalization", (make.BatchNormalization,), {"call": call})
            layer = kind(momentum=0.9, dtype=precision, **options)
            layer.build(shape)
            for number, weights in enumerate(layer.weights):
                weights.assign(np.abs(data(weights.shape, number)) + 0.5)
            into += results(layer, x, training)
        # a unit in the last place of the output's type, and the error of sums of a few hundred
        unit = {"float32": 2e-5, "mixed_bfloat16": 2**-7, "mixed_float16": 2**-10}[precision]
        assert len(obtained) == len(expected)
        for actual, wanted in zip(obtained, expected):
            scale = np.abs(wanted).max()
            np.testing.assert_allclose(actual, wanted, rtol=unit, atol=unit * max(scale, 1))


def test_batch_norm_leaves_out_masked_values():
    x, mask = data((4, 3, 6)), np.array([[True, True, False]] * 4)
    layer = make.BatchNormalization()
    layer(x, training=True, mask=mask)
    np.testing.assert_allclose(layer.moving_mean, 0.01 * x[:, :2].mean((0, 1)), rtol=1e-4)


def test_the_saved_file_needs_nothing_but_keras(tmp_path: Path):
    """A process without our modules loads it and predicts the same."""
    inputs = keras.Input((6, 6, 3))
    x = make.BatchNormalization()(make.Conv2D(4, 3)(inputs))
    x = make.BatchNormalization()(make.Dense(5, activation="gelu")(make.Flatten()(x)))
    model = keras.Model(inputs, make.Dense(3, activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    images = data((40, 6, 6, 3))
    model.fit(images, np.arange(40) % 3, epochs=3, verbose=0)
    saving.save(keras.Model(model.inputs, model.outputs), tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        layers = json.loads(file.read("config.json"))["config"]["layers"]
    assert all(layer["module"] == "keras.layers" for layer in layers)
    alone = (
        "import keras, numpy; model = keras.saving.load_model('model.keras');"
        "numpy.save('predicted.npy', model.predict(numpy.load('images.npy'), verbose=0))"
    )
    environment = own_environment()
    environment.pop("PYTHONPATH", None)
    subprocess.run([sys.executable, "-c", alone], cwd=tmp_path, env=environment, check=True)
    obtained = np.load(tmp_path / "predicted.npy")
    np.testing.assert_allclose(obtained, model.predict(images, verbose=0), atol=1e-6)
