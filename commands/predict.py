"""Classify image files with a trained model.

Takes files and folders (with all images in them). Prints the class of each image, its probability,
and the runners-up. The images are decoded and resized as those that the model was trained on. What
cannot be read is named on standard error, the others are classified all the same, and the exit
status is 1.

The model is the one that compare selected; or, with --model, another below models/, or a folder
that `dvc artifacts get` brought. An exported model is run by ONNX Runtime, which starts within a
second; another one, and --explain, need Keras and some seconds.

With --refuse, an image whose most probable class is less probable than what was chosen on
validation data gets no class: without it, even an image of none of the classes gets one.

--format json is for programs, and gives names as they are. In CSV, a name that a spreadsheet would
take for a formula begins with an apostrophe; and on a terminal, no name can act.
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from commands.predicting import network, trained
from commands.predicting.pictures import Row, classify, find, read_limits
from stages.runtime import cli, escape, progress
from stages.runtime.errors import UserError

if TYPE_CHECKING:
    from commands.predicting.grad_cam import Explainer


REFUSED = "(refused)"  # in place of a class


def as_line(row: Row, width: int) -> str:
    """A row for people; `width` is that of the longest class name, in characters."""
    others = ", ".join(
        f"{escape.terminal(other['class'])} {other['probability']:.3f}"
        for other in row["runners_up"]
    )
    name = REFUSED if row["class"] is None else row["class"]
    return (
        f"{escape.terminal(name):<{width}}  {row['probability']:.3f}  "
        f"{escape.terminal(row['file'])}" + (f"  ({others})" if others else "")
    )


def as_csv(row: Row, on_terminal: bool) -> dict[str, object]:
    """A row of the CSV: file, class, probability, class_2, probability_2 and so on."""
    cells = {key: row[key] for key in ("file", "class", "probability")}
    for place, other in enumerate(row["runners_up"], start=2):
        cells |= {f"{key}_{place}": value for key, value in other.items()}
    cells = {key: escape.spreadsheet(value) for key, value in cells.items()}
    if not on_terminal:
        return cells
    texts = {key: one for key, one in cells.items() if isinstance(one, str)}
    return cells | {key: escape.terminal(text) for key, text in texts.items()}


def write_csv(rows: list[Row], top: int) -> None:
    """All rows as CSV on standard output, below a line with the columns' names."""
    names = ["file", "class", "probability"]
    names += [f"{key}_{place}" for place in range(2, top + 1) for key in ("class", "probability")]
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_csv(row, sys.stdout.isatty()) for row in rows)


def start_explainer(chosen: trained.Trained, target: Path) -> "Explainer":
    """What draws where the Keras file of the model looked, into the folder `target`."""
    if target.exists() and not target.is_dir():
        raise UserError(f"--explain {target}: this is a file, and the pictures need a folder")
    trained.check_keras(chosen.folder, chosen.training)
    from stages.training import backend

    backend.start(chosen.training.train.threads, chosen.training.train.instruction_set)
    from commands.predicting.grad_cam import Explainer

    return Explainer(chosen.folder / "model.keras", target)


def parse_path(text: str) -> Path:
    """A path as it is given on the command line."""
    if not text:  # such as an empty variable of the shell, where Path would be this folder
        raise argparse.ArgumentTypeError("it is empty")
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text} is an address: fetch the picture first")
    return Path(text)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "paths",
        nargs="+",
        type=parse_path,
        metavar="PATH",
        help="an image file, or a folder with images",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a model below models/, or the folder of one; without it, the selected one",
    )
    parser.add_argument(
        "--format",
        choices=("table", "json", "csv"),
        default="table",
        help="format of the output (default: %(default)s)",
    )
    parser.add_argument(
        "--top",
        type=cli.number(int, 1),
        default=3,
        metavar="K",
        help="how many classes to list per file (default: 3)",
    )
    parser.add_argument(
        "--int8", action="store_true", help="run the network in 8-bit integers that was exported"
    )
    parser.add_argument(
        "--refuse",
        action="store_true",
        help="give no class below the confidence that export.accepted_accuracy chose",
    )
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="FOLDER",
        help="write into FOLDER a picture per file that shows where the model looked",
    )


def main(
    paths: list[Path],
    model: str | None,
    format: str,
    top: int,
    int8: bool,
    refuse: bool,
    explain: Path | None,
) -> None:
    chosen = trained.open_model(model, int8)
    training = chosen.training
    confidence = trained.read_confidence(chosen) if refuse else 0.0
    explainer = start_explainer(chosen, explain) if explain else None
    predict = network.start(chosen)
    width = max(len(escape.terminal(name)) for name in training.class_names)
    rows, failed = [], 0
    found = list(find(paths))
    classified = classify(found, predict, training, top, confidence, read_limits())
    for row, path, image in progress.track(classified, "predictions", "images", len(found)):
        if isinstance(row, str):
            failed += 1
            progress.say(f"error: {escape.terminal(path)}: {row}", sys.stderr)
            continue
        if format == "table":
            progress.say(as_line(row, width))
        else:
            rows.append(row)
        if explainer and row["class"] is not None:
            explainer.draw(path, image, training.class_names.index(row["class"]))
    if format == "json":
        print(escape.as_json(rows))
    elif format == "csv":
        write_csv(rows, min(top, len(training.class_names)) + refuse)
    if failed:
        raise UserError(f"{failed} file{'s' * (failed != 1)} could not be classified, see above")


def start() -> None:
    """The command `predict`."""
    cli.run(main, __doc__, add_options)


if __name__ == "__main__":
    start()
