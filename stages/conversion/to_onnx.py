"""Conversion of a network to ONNX, with equal bytes for equal networks."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from stages.conversion import checking
from stages.runtime import refusals
from stages.runtime.errors import UserError
from stages.runtime.text import first_line

if TYPE_CHECKING:
    import keras
    import onnx


AUGMENTATION = (  # layers that change images during training and are the identity otherwise
    "AugMix", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter",
    "RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip",
    "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective",
    "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear",
    "RandomTranslation", "RandomZoom", "Solarization",
)  # fmt: skip


def convert(model: "keras.Model", training: dict[str, Any], path: Path) -> None:
    """Write `model` to `path` as ONNX, with an input `image`, uint8 (images, height, width,
    channels), and an output `probability`, float32 (images, classes), for any number of images; its
    metadata are of `training`, the content of training.json. Raises `UserError` if ONNX cannot
    express it; known cases are refused by `stages.params` before training."""
    import keras
    import onnx

    register_operation()
    model = prepare_for_inference(model)
    signature = [keras.InputSpec(shape=model.input_shape, dtype="uint8", name="image")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # by numpy, about the converter
        try:
            with without_xla():
                model.export(path, format="onnx", verbose=False, input_signature=signature)
            converted = onnx.load(path)
            canonicalise(converted.graph)
            onnx.checker.check_model(converted)
        except Exception as error:  # the converter may raise anything
            if refusals.explain(error):  # not the network's fault
                raise
            raise UserError(
                f"ONNX cannot express the network {model.name}: {first_line(error)}"
            ) from None
    for tensor in (converted.graph.input[0], converted.graph.output[0]):
        tensor.type.tensor_type.shape.dim[0].dim_param = "images"
    keys = ("class_names", "decoded_channels", "preprocess")
    onnx.helper.set_model_props(
        converted, {key: json.dumps(training[key], ensure_ascii=False) for key in keys}
    )
    path.write_bytes(converted.SerializeToString(deterministic=True))


def prepare_for_inference(model: "keras.Model") -> "keras.Model":
    """`model`, or a copy without its augmentation layers, since ONNX lacks their random numbers.
    Constants of Normalization layers become NumPy arrays, which the graph can contain."""
    import keras

    config = model.get_config()
    if (simplified := without_augmentation(config)) != config:
        model = checking.rebuild(simplified, model)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization) and layer.mean is not None:
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
    return model


def without_augmentation(config: Any) -> Any:
    """The `config` of a model with each of the `AUGMENTATION` layers replaced by Identity. By
    default, Keras calls them, and the layers after them, with ``training=True``."""
    if isinstance(config, list):
        return [without_augmentation(item) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") in AUGMENTATION and "inbound_nodes" in config:
        return {
            "module": "keras.layers",
            "class_name": "Identity",
            "config": {"name": config["config"]["name"]},
            "registered_name": None,
            "name": config["name"],
            "inbound_nodes": [node | {"kwargs": {}} for node in config["inbound_nodes"]],
        }
    return {key: without_augmentation(item) for key, item in config.items()}


@contextmanager
def without_xla() -> Iterator[None]:
    """Prevent Keras from compiling grouped convolutions with XLA. It does so as TensorFlow cannot
    compute them otherwise; the converter handles them, but nothing that is compiled."""
    import tensorflow

    original = tensorflow.function

    def function(*arguments: Any, jit_compile: bool | None = None, **others: Any) -> Any:
        if jit_compile and not arguments:
            return lambda uncompiled: uncompiled
        return original(*arguments, jit_compile=jit_compile, **others)

    with mock.patch.object(tensorflow, "function", function):
        yield


def register_operation() -> None:
    """Register an operation that ONNX lacks with the converter: TensorFlow's Expm1, used by the
    activation celu, as Exp - 1. (Erfc, used by gelu, is 1 - Erf by `arithmetic` already.)"""
    from tf2onnx.handler import tf_op

    @tf_op("Expm1")
    class Expm1:
        @classmethod
        def version_6(cls, graph, node, **_):
            graph.remove_node(node.name)
            power = graph.make_node("Exp", node.input)
            one = graph.make_const(f"{node.name}/one", np.float32(1))
            graph.make_node("Sub", [power.output[0], one.output[0]], outputs=node.output)


def canonicalise(graph: "onnx.GraphProto") -> None:
    """Name nodes and constants by their position, and order the constants by first use: the
    converter's names depend on memory addresses and Python's hash seed. The input is named image,
    the output probability."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used = dict.fromkeys(name for node in graph.node for name in node.input if name in constants)
    names = {"": ""}  # an omitted optional input
    names |= {name: f"constant{number}" for number, name in enumerate(used, start=1)}
    names |= {
        name: f"{node.op_type}{number}" + (f".{place}" if place else "")
        for number, node in enumerate(graph.node, start=1)
        for place, name in enumerate(node.output)
        if name
    }
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
