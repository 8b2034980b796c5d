"""Where a model looked: Grad-CAM (Selvaraju et al., arXiv 1610.02391), for ``python -m
commands.predict --explain``.

The feature maps of the last layer that has the shape of an image, and that all paths through the
network pass, are weighted by how much each raises the score of the class, and summed. Networks
without such layers (dense ones) have no feature maps; there each pixel is weighted by its gradient
times its value. Needs TensorFlow as
Keras's backend.
"""

import contextlib
import os
from hashlib import blake2b
from pathlib import Path

import keras
import matplotlib
import numpy as np
from PIL import Image

from stages.conversion import checking
from stages.images.pillow import to_pillow
from stages.runtime.errors import UserError
from stages.storage import files

SIDE = 224  # pixels of a picture's longer side, at least
STRENGTH = 0.55  # of the colours laid over the image, 0 to 1
# of a picture's name, of the 255 that file systems take; some are for what is added
MOST_BYTES = 230
GAP = 8  # pixels between the image and the map


def has_maps(layer: keras.Layer) -> bool:
    """Whether a layer's output has an image's shape; what pooling and dropout behind the last
    convolution give is left out."""
    shape = layer.output.shape
    return (
        len(shape) == 4
        and min(shape[1:3]) > 1
        and not any(part in type(layer).__name__ for part in ("Pooling", "Dropout"))
    )


def split_behind(
    mapped: list[keras.Layer], network: keras.Model
) -> tuple[keras.Layer, keras.Model]:
    """The last of the layers `mapped` that all paths through `network` pass, and not only those of
    a branch; and the rest of the network behind it."""
    for layer in reversed(mapped):
        with contextlib.suppress(ValueError):  # the output does not follow from it alone
            return layer, keras.Model(layer.output, network.output)
    raise UserError("--explain: no layer of this network has maps that all paths pass")


class Explainer:
    """Draws, for the model in the file `model`, pictures into the folder `target`."""

    def __init__(self, model: Path, target: Path):
        if keras.config.backend() != "tensorflow":
            raise UserError(
                f"--explain needs TensorFlow as Keras's backend, not {keras.config.backend()}: "
                "unset KERAS_BACKEND"
            )
        network = checking.load(model)
        averaged = [layer for layer in network.layers if isinstance(layer, keras.Model)]
        if averaged:  # over versions of each image: the network itself is a layer
            network = checking.keep_main_output(averaged[0])
        layers = {layer.name: layer for layer in network.layers}
        mapped = [layer for layer in network.layers if has_maps(layer)]
        if not mapped or not hasattr(layers.get("probability"), "activation"):
            raise UserError(
                f"--explain: {model} is no network of this project: it has no layer called "
                "probability, or none that keeps the shape of an image"
            )
        # scores instead of probabilities: those near 1 have no gradients
        layers["probability"].activation = keras.activations.linear
        last, self.scores = split_behind(mapped, network)
        self.maps = keras.Model(network.inputs, last.output)
        # no map but the image itself, perhaps normalised or resized
        names = (weight.name for layer in self.maps.layers for weight in layer.weights)
        self.pixels = not any("kernel" in name for name in names)
        self.target = target

    def heat(self, image: np.ndarray, number: int) -> np.ndarray:
        """How much each place of `image`, uint8 (height, width, channels), speaks for class
        `number`: 0 to 1, (rows, columns)."""
        import tensorflow

        features = self.maps([image[np.newaxis]], training=False)
        with tensorflow.GradientTape() as tape:
            tape.watch(features)
            score = self.scores(features, training=False)[0, number]
        gradients = np.asarray(tape.gradient(score, features))[0]
        features = np.asarray(features)[0]
        if self.pixels:
            heat = np.abs(gradients * features).sum(axis=-1)
        else:
            heat = np.maximum((gradients.mean(axis=(0, 1)) * features).sum(axis=-1), 0)
        return heat / heat.max() if heat.max() > 0 else heat

    def draw(self, path: Path, image: np.ndarray, number: int) -> None:
        """Write a picture for the file `path`: the image as the model gets it, and beside it the
        same under its map."""
        picture = to_pillow(image).convert("RGB")
        factor = max(1, -(-SIDE // max(picture.size)))
        size = (picture.width * factor, picture.height * factor)
        picture = picture.resize(size, Image.Resampling.NEAREST)
        heat = Image.fromarray((255 * self.heat(image, number)).astype(np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        colours = Image.fromarray(
            matplotlib.colormaps["inferno"](np.asarray(heat), bytes=True)[..., :3]
        )
        both = Image.new("RGB", (2 * size[0] + GAP, size[1]), "white")
        both.paste(picture, (0, 0))
        both.paste(Image.blend(picture, colours, STRENGTH), (size[0] + GAP, 0))
        place = self.place(path)
        if place.is_dir():
            raise UserError(f"--explain: {place} is a folder, where the picture belongs")
        try:
            with files.replacing(place) as partial:
                both.save(partial, "PNG")
        except (FileExistsError, NotADirectoryError):
            raise UserError(
                f"--explain: {place.parent} cannot be made: a file lies where a folder must be"
            ) from None

    def place(self, path: Path) -> Path:
        """Where the picture for `path` goes: its own path below the target, so that equal names in
        two folders stay apart. A name too long to be made longer is cut, with a digest in place of
        the rest."""
        names = {path.anchor: "_root", "..": "_up"}
        *folders, name = [names.get(part, part) for part in path.parts]
        content = os.fsencode(name)
        if len(content) > MOST_BYTES:
            digest = blake2b(content, digest_size=8).hexdigest()
            name = f"{os.fsdecode(content[: MOST_BYTES - 17])}-{digest}"
        return self.target.joinpath(*folders, f"{name}.png")
