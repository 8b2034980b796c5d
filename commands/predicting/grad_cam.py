"""Show where a model looked: Grad-CAM (Selvaraju et al., arXiv 1610.02391), for ``python -m
commands.predict --explain``.

The feature maps are those of the last layer with an image-shaped output that all paths through the
network pass. They are weighted by how much each raises the score of the class, and summed. Networks
without such layers (dense ones) have no feature maps; there each pixel's weight is its gradient
times its value. Needs TensorFlow as Keras's backend.
"""

import contextlib
import math
import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import keras
import matplotlib
import numpy as np
from PIL import Image, PngImagePlugin

from commands.predicting.finding import SOFTWARE, is_own
from stages.architectures import CLASSIFIER
from stages.conversion import checking
from stages.images.pillow import to_pillow
from stages.runtime.errors import UserError
from stages.storage import files

MIN_SIDE = 224  # pixels of a picture's longer side
STRENGTH = 0.55  # opacity of the colours over the image, 0 to 1
# of a picture's name, before suffixes are added: file systems take 255
MAX_NAME_BYTES = 230
GAP = 8  # pixels between the image and the map


def has_maps(layer: keras.Layer) -> bool:
    """Whether a layer's output is image-shaped, apart from pooling and dropout layers, which would
    follow the last convolution."""
    shape = layer.output.shape
    return (
        len(shape) == 4
        and min(shape[1:3]) > 1
        and not any(part in type(layer).__name__ for part in ("Pooling", "Dropout"))
    )


def split_after_last(
    layers: list[keras.Layer], network: keras.Model
) -> tuple[keras.Layer, keras.Model]:
    """Split `network` after the last of `layers` that all its paths pass, not just one branch.
    Returns that layer and the rest of the network. Raises `UserError` if there is none."""
    for layer in reversed(layers):
        with contextlib.suppress(ValueError):  # the output depends on other branches too
            return layer, keras.Model(layer.output, network.output)
    raise UserError("--explain: no layer with feature maps lies on all paths of this network")


def make_label() -> PngImagePlugin.PngInfo:
    """The label by which `is_own` recognises a picture."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", SOFTWARE)
    return text


class Explainer:
    """Draws pictures for the model in the file `model` into the folder `target`."""

    def __init__(self, model: Path, target: Path):
        if keras.config.backend() != "tensorflow":
            raise UserError(
                f"--explain needs TensorFlow as Keras's backend, not {keras.config.backend()}: "
                "unset KERAS_BACKEND"
            )
        network = checking.load_to_predict(model)
        averaged = [layer for layer in network.layers if isinstance(layer, keras.Model)]
        if averaged:  # test-time augmentation: the network proper is a layer
            network = checking.keep_main_output(averaged[0])
        layers = {layer.name: layer for layer in network.layers}
        mapped = [layer for layer in network.layers if has_maps(layer)]
        if not mapped or not hasattr(layers.get(CLASSIFIER), "activation"):
            raise UserError(
                f"--explain: {model} is not a network of this project: it has no layer called "
                f"{CLASSIFIER}, or none with an image-shaped output"
            )
        # logits instead of probabilities: the gradients of probabilities near 1 vanish
        layers[CLASSIFIER].activation = keras.activations.linear
        last, self.scores = split_after_last(mapped, network)
        self.maps = keras.Model(network.inputs, last.output)
        # the only map is the image itself, perhaps normalised or resized
        names = (weight.name for layer in self.maps.layers for weight in layer.weights)
        self.pixels = not any("kernel" in name for name in names)
        self.target = target

    def compute_heat(self, image: np.ndarray, number: int) -> np.ndarray:
        """The evidence for class `number` at each place of `image`, uint8 (height, width,
        channels): 0 to 1, (rows, columns)."""
        import tensorflow

        features = self.maps([image[np.newaxis]], training=False)
        with tensorflow.GradientTape() as tape:
            tape.watch(features)
            score = self.scores(features, training=False)[0, number]
        # in float32, since sums of many bfloat16 stagnate
        gradients = np.asarray(tape.gradient(score, features), np.float32)[0]
        features = np.asarray(features, np.float32)[0]
        if self.pixels:
            heat = np.abs(gradients * features).sum(axis=-1)
        else:
            heat = np.maximum((gradients.mean(axis=(0, 1)) * features).sum(axis=-1), 0)
        return heat / heat.max() if heat.max() > 0 else heat

    def draw(self, path: Path, image: np.ndarray, number: int) -> None:
        """Write a picture for the file `path`: the image as the network gets it, beside the same
        image under the heat map of class `number`."""
        picture = to_pillow(image).convert("RGB")
        factor = math.ceil(MIN_SIDE / max(picture.size))
        size = (picture.width * factor, picture.height * factor)
        picture = picture.resize(size, Image.Resampling.NEAREST)
        heat = Image.fromarray((255 * self.compute_heat(image, number)).astype(np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        colours = Image.fromarray(
            matplotlib.colormaps["inferno"](np.asarray(heat), bytes=True)[..., :3]
        )
        both = Image.new("RGB", (2 * size[0] + GAP, size[1]), "white")
        both.paste(picture, (0, 0))
        both.paste(Image.blend(picture, colours, STRENGTH), (size[0] + GAP, 0))
        with files.replacing(self.choose_output(path)) as partial:
            both.save(partial, "PNG", pnginfo=make_label())

    def prepare_outputs(self, paths: Iterable[Path]) -> None:
        """Make the folders of the pictures for those `paths` that exist. Raise `UserError` if one
        cannot be made, or if a picture would replace anything but a picture of this command."""
        outputs = {path: self.choose_output(path) for path in paths}
        for output in outputs.values():
            if os.path.isdir(output):  # unlike pathlib's, never an error for a name too long
                raise UserError(
                    f"--explain: {output} is a folder, so the picture cannot be written"
                )
            if os.path.exists(output) and not is_own(output):
                raise UserError(
                    f"--explain: {output} is there, and not labelled as a picture of this command: "
                    "move it away, or name another folder"
                )
        for folder in {output.parent for path, output in outputs.items() if os.path.exists(path)}:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
                raise UserError(
                    f"--explain: the folder {folder} cannot be made: {error.strerror.lower()}"
                ) from None

    def choose_output(self, path: Path) -> Path:
        """The path of the picture for `path`: the same path below the target, so that equal names
        in two folders do not collide. The end of a very long name is replaced by a digest."""
        names = {path.anchor: "_root", "..": "_up"}
        # the current folder has no parts
        *folders, name = [names.get(part, part) for part in path.parts] or ["_here"]
        content = os.fsencode(name)
        if len(content) > MAX_NAME_BYTES:
            digest = blake2b(content, digest_size=8).hexdigest()
            name = f"{os.fsdecode(content[: MAX_NAME_BYTES - 17])}-{digest}"
        return self.target.joinpath(*folders, f"{name}.png")
