"""Stage describe: the data card, and pictures of the prepared data.

Reads ``data/raw/NAME/dataset.json``, ``data/split/split.json`` and ``data/prepared/``; writes into
``reports/data/``:

    card.md, card.json   source, digest, licence, image counts per part and class, duplicates,
                         skipped files
    samples.png          training images of each class
    class_means.png      the mean training image of each class
    class_balance.png    the number of images of each class in each part
    augmentation.png     augmented training images; only if the section ``augment`` changes
                         anything

Takes 2 seconds; 6 more with augmentation, mostly to import TensorFlow.
"""

from pathlib import Path
from typing import Any

import numpy as np

from stages import params
from stages.drawing import charts, pictures
from stages.drawing.style import DRAWN
from stages.page.templates import make_environment
from stages.params.schema import Params
from stages.runtime import cli, inputs, progress
from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training import augmentation, backend

SHOWN = 8  # images of a class in samples.png
AUGMENTED = 6  # images in augmentation.png, and versions of each
CHUNK_BYTES = 1 << 26  # of images summed at a time, but at least one image


def choose_evenly(labels: np.ndarray, number: int, count: int) -> np.ndarray:
    """The indices of at most `count` images of class `number`, evenly spread over `labels`, int
    (images,)."""
    places = np.flatnonzero(labels == number)
    return places[np.linspace(0, len(places) - 1, min(count, len(places))).astype(int)]


def average_classes(images: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The mean image of each class, rounded to uint8 (classes, height, width, channels); black
    where a class has no images."""
    means = np.zeros((classes, *images.shape[1:]))
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], np.arange(classes + 1))
    step = max(1, CHUNK_BYTES // images[0].nbytes)
    for number in progress.track(range(classes), "mean images", "classes"):
        places = by_class[starts[number] : starts[number + 1]]
        for start in range(0, len(places), step):
            means[number] += images[places[start : start + step]].sum(axis=0, dtype=np.int64)
        means[number] /= max(len(places), 1)
    return np.round(means).astype(np.uint8)


def augment(images: np.ndarray, options: Params) -> np.ndarray:
    """`AUGMENTED` random augmentations of each image, uint8 (images, AUGMENTED, height, width,
    channels)."""
    backend.start(options.train.threads, options.train.instruction_set)
    import keras

    pixels = keras.Input(images.shape[1:], dtype="uint8")
    network = keras.Model(
        *augmentation.prepend_to(keras.Model(pixels, pixels), options.augment, options.seed)
    )
    versions = network([np.repeat(images, AUGMENTED, axis=0)], training=True)
    return np.asarray(versions).reshape(len(images), AUGMENTED, *images.shape[1:])


def build_card(
    dataset: dict[str, Any], split: dict[str, Any], prepared: dict[str, Any]
) -> dict[str, Any]:
    """The content of card.json; unknown facts about the source are null."""
    facts = ("source", "source_digest", "licence", "channels", "height", "width")
    return {
        "dataset": prepared["dataset"],
        **{key: dataset[key] for key in facts},
        "skipped": dataset["skipped"],
        "classes": len(prepared["class_names"]),
        "prepared_shape": prepared["image_shape"],
        **split,
    }


def format_card(card: dict[str, Any], augmented: bool) -> str:
    """The card as Markdown; `augmented`: whether augmentation.png is there."""
    template = make_environment().get_template("data_card.md.jinja")
    return template.render(card, augmented=augmented, drawn=DRAWN)


def main() -> None:
    options = params.load()
    inputs.check_prepared(options)
    split = files.read_json(Path("data/split/split.json"))
    prepared = Prepared()
    names = prepared.description["class_names"]
    images, labels = prepared.images("train"), prepared.labels("train")
    card = build_card(
        files.read_json(Path("data/raw") / options.dataset / "dataset.json"),
        split,
        prepared.description,
    )
    counts = {part: content["classes"] for part, content in split["parts"].items()}
    with files.replacing(Path("reports/data")) as folder:
        folder.mkdir()
        files.write_json(folder / "card.json", card)
        augmented = augmentation.is_enabled(options.augment)
        files.write_text(folder / "card.md", format_card(card, augmented))
        drawn, total = names[:DRAWN], len(names)
        samples = [images[choose_evenly(labels, number, SHOWN)] for number in range(len(drawn))]
        charts.save(pictures.draw_samples(samples, drawn, total), folder / "samples.png")
        charts.save(
            pictures.draw_means(average_classes(images, labels, len(drawn)), drawn, total),
            folder / "class_means.png",
        )
        charts.save(pictures.draw_class_balance(counts), folder / "class_balance.png")
        if augmented:
            places = np.linspace(0, len(labels) - 1, min(AUGMENTED, len(labels))).astype(int)
            versions = augment(images[places], options)
            classes = np.take(names, labels[places]).tolist()
            charts.save(
                pictures.draw_augmentation(images[places], versions, classes),
                folder / "augmentation.png",
            )
    print(f"{card['dataset']}: {len(names)} classes; see reports/data/card.md")


if __name__ == "__main__":
    cli.run(main, __doc__)
