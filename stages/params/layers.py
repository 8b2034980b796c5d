"""Check the layers of a network of the family ``sequential``."""

import re
from typing import Any

from stages.params.fields import suggest
from stages.params.names import ACROSS, ACTIVATIONS, ALIASES, LAYERS, convert_to_snake_case


def find_onnx_alternative(name: str, arguments: dict[str, Any]) -> str | None:
    """What to use instead of a layer that the stage export cannot write as ONNX; None if no problem
    is known. Tested with each of `LAYERS`."""
    if name == "Equalization":
        return "ContrastLimitedAdaptiveHistogramEqualization can"
    if name == "RandomCrop":
        return "augment.crop_padding crops in training"
    if name == "Resizing":
        if arguments.get("interpolation", "bilinear") not in ("bilinear", "nearest"):
            return "the interpolations bilinear and nearest can"
        if arguments.get("antialias") or arguments.get("pad_to_aspect_ratio"):
            return "without antialias and pad_to_aspect_ratio it can"
    if name == "UpSampling2D" and "lanczos" in str(arguments.get("interpolation")):
        return "the interpolations bilinear, bicubic and nearest can"
    return None


def find_argument_fault(name: str, arguments: dict[str, Any]) -> str | None:
    """Why a network here cannot have `arguments` that Keras's layer `name` accepts; None if no
    problem is known."""
    for key, value in arguments.items():
        match name, key, value:
            case "RandomShear", "x_factor" | "y_factor", int() | float() if value:
                return f"{key} {value}: Keras cannot read such a network back; write [0, {value}]"
            case "Rescaling", "scale" | "offset", str():
                return f"{key}: {value!r} is text, and is not computed: write it as a number"
            case _, "dtype", "float16" | "bfloat16" | "float64":
                return f"dtype {value!r} cannot be exported as ONNX; train.precision is for all"
            case _, "lora_rank", rank if rank:
                return "lora_rank is for adapting a trained network: leave it out"
            case _, "noise_shape", [first, *_] if first not in (None, 1):
                return (
                    f"noise_shape begins with {first!r}, and batches differ in size: write null "
                    "there"
                )
    if name == "Normalization" and None in map(arguments.get, ("mean", "variance")):
        return (
            "without mean and variance it changes nothing; preprocess.normalisation computes them"
        )
    return None


def check_layer(layer: Any) -> Any:
    """Check one of `layers`: a map with one key, the layer's name, and its arguments by name; and
    that the trained network can be exported."""
    if not isinstance(layer, dict) or len(layer) != 1:
        raise ValueError(
            "a layer is one key, its name, with its arguments, such as Conv2D: {filters: 32, "
            "kernel_size: 3}"
        )
    ((name, arguments),) = layer.items()
    if name not in LAYERS:
        raise ValueError(f"{name!r} is not a layer. {suggest(name, LAYERS)}")
    if not (arguments is None or isinstance(arguments, dict)):
        raise ValueError(
            f"{arguments!r} are not arguments by name: write {name} as in Conv2D: {{filters: 32, "
            "kernel_size: 3}"
        )
    arguments = arguments or {}
    activation = arguments.get("activation")
    if isinstance(activation, str) and activation not in (*ACTIVATIONS, *ACROSS, *ALIASES):
        raise ValueError(
            f"{activation!r} is not an activation. {suggest(activation, (*ACTIVATIONS, *ACROSS))}"
        )
    if fault := find_argument_fault(name, arguments):
        raise ValueError(f"{name}: {fault}")
    if instead := find_onnx_alternative(name, arguments):
        raise ValueError(f"{name} cannot be exported as ONNX with these arguments: {instead}")
    return layer


def check_layer_names(layers: list[Any]) -> list[Any]:
    """Check that no two of `layers` share a name, and that none has the name of a layer of every
    network, or one that Keras may generate for an unnamed layer: ``max_pooling2d_1``."""
    taken = ["image", "rescaling", "probability"]
    pairs = [pair for layer in layers for pair in layer.items()]
    unnamed = {
        convert_to_snake_case(kind)
        for kind, arguments in pairs
        if not (arguments or {}).get("name")
    }
    generated = re.compile("|".join(f"{name}(_[0-9]+)?" for name in unnamed) or "(?!)")
    for number, (_, arguments) in enumerate(pairs):
        name = (arguments or {}).get("name")
        if isinstance(name, str) and not re.fullmatch("[A-Za-z0-9.][A-Za-z0-9_.-]*", name):
            raise ValueError(
                f"the name {name!r} of layers[{number}] may have the letters a to z and A to Z, "
                "digits and dots, and after the first of these also _ and -"
            )
        if isinstance(name, str) and generated.fullmatch(name):
            raise ValueError(
                f"the name {name!r} of layers[{number}] is one that Keras generates for unnamed "
                "layers: choose another one"
            )
        if name in taken:
            raise ValueError(
                f"the name {name!r} of layers[{number}] is taken: choose another one, or give none"
            )
        taken += [name] if name else []
    return layers
