"""Classify image files with a trained model.

Takes files and folders (with all images in them). Prints the class of each image, its probability,
and the runners-up. The images are decoded and resized as those that the model was trained on. What
cannot be read is named on standard error, the others are classified all the same, and the exit
status is 1.

The model is the one that compare selected; or, with --model, another below models/, or a folder
that `dvc artifacts get` brought.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from stages.conversion import checking
from stages.images.decode import SUFFIXES, BadImage, decode
from stages.images.resize import resized
from stages.params.schema import Preprocess
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.storage import files
from stages.training import backend

BATCH = 250  # images that are decoded, and predicted, at a time
PIXELS = 100_000_000  # of a file at most: a small file may claim any number

Row = dict[str, Any]  # file, class, probability, runners_up


def folder_of(model: str | None) -> Path:
    """The folder of the model that the user names: a path, a name below ``models/``, or None for
    the selected one."""
    if model is None:
        model = files.read_json(Path("reports/selection.json"))["selected"]
    folder = next(
        (
            place
            for place in (Path("models") / model, Path(model))
            if (place / "model.keras").exists()
        ),
        None,
    )
    if folder is None:
        known = sorted(path.parent.name for path in Path("models").glob("*/model.keras"))
        there = (
            f"there are {', '.join(known)}" if known else "`dvc repro` or `dvc checkout` makes them"
        )
        raise UserError(
            f"there is no model {model!r}, neither below models/ nor as a folder with model.keras: "
            f"{there}"
        )
    return folder


def found(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to classify: those named, and of folders all whose suffix is an image's, at any
    depth, sorted."""
    for path in paths:
        if path.is_dir():
            inside = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in SUFFIXES and file.is_file()
            )
            yield from inside or [path]  # a folder without images is an error of its own
        else:
            yield path


def prepared(path: Path, training: dict[str, Any]) -> np.ndarray | str:
    """The image in a file as the model takes it, uint8 (height, width, channels); or what is wrong
    with the file."""
    height, width, channels = training["image_shape"]
    if path.is_dir():
        return "this folder holds no images"
    try:
        image = decode(path.read_bytes(), training["decoded_channels"], PIXELS, "of this command")
    except OSError as error:
        return error.strerror or str(error)
    except BadImage as error:
        return str(error)
    options = training["preprocess"] | {"channels": channels}
    if height == width:
        # training may have kept the size that all its images had: another one is brought to it
        options["image_size"] = height
    image = resized(image, Preprocess(**options))
    if image.shape != (height, width, channels):
        return (
            f"the model takes images of {height}×{width} pixels, "
            f"and this one has {image.shape[0]}×{image.shape[1]}"
        )
    return image


def classified(
    paths: Iterable[Path], predict: Any, training: dict[str, Any], top: int
) -> Iterator[tuple[Row | str, Path, Any]]:
    """For each file its row, or what is wrong with it; the file; and its image. `predict` gives
    probabilities (images, classes)."""
    names = training["class_names"]
    paths = iter(paths)
    with ThreadPoolExecutor() as threads:
        while chunk := list(islice(paths, BATCH)):
            images = list(threads.map(lambda path: prepared(path, training), chunk))
            good = [image for image in images if not isinstance(image, str)]
            rows = iter(predict(np.stack(good)) if good else [])
            for path, image in zip(chunk, images):
                if isinstance(image, str):
                    yield image, path, None
                    continue
                probabilities = next(rows)
                order = np.argsort(-probabilities, kind="stable")[:top]
                best, *others = [
                    {"class": names[number], "probability": round(float(probabilities[number]), 6)}
                    for number in order
                ]
                yield {"file": str(path), **best, "runners_up": others}, path, image


class Table:
    """Rows as lines for people, as they come."""

    def __init__(self, width: int):
        self.width = width  # characters of the longest class name

    def row(self, row: Row) -> None:
        others = ", ".join(
            f"{other['class']} {other['probability']:.3f}" for other in row["runners_up"]
        )
        print(
            f"{row['class']:<{self.width}}  {row['probability']:.3f}  {row['file']}"
            + (f"  ({others})" if others else "")
        )

    def end(self) -> None:
        pass


class Json:
    """Rows as one JSON array, at the end."""

    def __init__(self):
        self.rows: list[Row] = []

    def row(self, row: Row) -> None:
        self.rows.append(row)

    def end(self) -> None:
        print(json.dumps(self.rows, indent=2, ensure_ascii=False))


class Csv:
    """Rows as CSV: file, class, probability, class_2, probability_2 and so on."""

    def __init__(self, top: int):
        self.writer = csv.writer(sys.stdout, lineterminator="\n")
        others = [
            f"{key}_{place}" for place in range(2, top + 1) for key in ("class", "probability")
        ]
        self.writer.writerow(["file", "class", "probability", *others])

    def row(self, row: Row) -> None:
        others = [value for other in row["runners_up"] for value in other.values()]
        self.writer.writerow([row["file"], row["class"], row["probability"], *others])

    def end(self) -> None:
        pass


def options(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="an image file, or a folder with images"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a model below models/, or the folder of one; without it, the selected one",
    )
    parser.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="of the output (table)"
    )
    parser.add_argument(
        "--top", type=int, default=3, metavar="K", help="classes a file, the most probable ones (3)"
    )
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="FOLDER",
        help="write a picture a file there: where the model looked",
    )


def main(paths: list[Path], model: str | None, format: str, top: int, explain: Path | None) -> None:
    folder = folder_of(model)
    training = files.read_json(folder / "training.json")
    if "preprocess" not in training:
        raise UserError(
            f"{folder}/training.json does not say how images are prepared, as older versions did "
            "not: train it again"
        )
    if top < 1:
        raise UserError(f"--top {top}: at least 1 class must be shown")
    if explain and explain.exists() and not explain.is_dir():
        raise UserError(f"--explain {explain}: this is a file, and the pictures need a folder")
    top = min(top, len(training["class_names"]))
    backend.start(training["train"]["threads"])
    network = checking.load(folder / "model.keras")
    explainer = None
    if explain:
        from commands.explain import Explainer

        explainer = Explainer(folder / "model.keras", explain)
    output = {
        "table": lambda: Table(max(map(len, training["class_names"]))),
        "json": Json,
        "csv": lambda: Csv(top),
    }[format]()
    failed = 0
    for row, path, image in classified(
        found(paths), lambda images: network.predict(images, verbose=0), training, top
    ):
        if isinstance(row, str):
            failed += 1
            sys.stdout.flush()
            print(f"error: {path}: {row}", file=sys.stderr)
            continue
        output.row(row)
        if explainer:
            explainer.draw(path, image, training["class_names"].index(row["class"]))
    output.end()
    if failed:
        raise UserError(f"{failed} file{'s' * (failed != 1)} could not be classified, see above")


if __name__ == "__main__":
    cli.run(main, __doc__, options)
