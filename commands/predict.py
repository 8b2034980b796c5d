"""Classify image files with a trained model.

Takes files and folders (with all images in them but the pictures of an earlier --explain). Prints
the class of each image, its probability, and the runners-up. Images are decoded and resized as in
training. Files that cannot be read are named on standard error; the others are still classified,
and the exit status is 1.

The model is the one that the stage compare selected or, with --model, another one below models/ or
a folder that `dvc artifacts get` downloaded. Exported models run in ONNX Runtime, which starts
within a second; other models, and --explain, need Keras and a few seconds.

With --refuse, an image whose most probable class is below the confidence chosen on validation data
gets no class. Without it, every image gets one, even an image of none of the classes.

--format json is for programs and leaves names unchanged. In CSV, a name that a spreadsheet would
take for a formula is prefixed with an apostrophe; on a terminal, control characters are escaped.
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from commands.predicting import network, trained
from commands.predicting.finding import find_files
from commands.predicting.pictures import Row, classify, read_limits
from stages.runtime import cli, escape, progress
from stages.runtime.errors import UserError

if TYPE_CHECKING:
    from commands.predicting.grad_cam import Explainer


REFUSED = "(refused)"  # in place of a class name


def format_line(row: Row, width: int) -> str:
    """A row as a line of text; `width`: of the longest class name, in characters."""
    others = ", ".join(
        f"{escape.terminal(other['class'])} {other['probability']:.3f}"
        for other in row["runners_up"]
    )
    name = REFUSED if row["class"] is None else row["class"]
    return (
        f"{escape.terminal(name):<{width}}  {row['probability']:.3f}  "
        f"{escape.terminal(row['file'])}" + (f"  ({others})" if others else "")
    )


def make_csv_row(row: Row, on_terminal: bool) -> dict[str, object]:
    """A row of the CSV: file, class, probability, class_2, probability_2 and so on."""
    cells = {key: row[key] for key in ("file", "class", "probability")}
    for place, other in enumerate(row["runners_up"], start=2):
        cells |= {f"{key}_{place}": value for key, value in other.items()}
    cells = {key: escape.spreadsheet(value) for key, value in cells.items()}
    if not on_terminal:
        return cells
    texts = {key: value for key, value in cells.items() if isinstance(value, str)}
    return cells | {key: escape.terminal(text) for key, text in texts.items()}


def write_csv(rows: list[Row], top: int) -> None:
    """Print all rows as CSV, with a header."""
    names = ["file", "class", "probability"]
    names += [f"{key}_{place}" for place in range(2, top + 1) for key in ("class", "probability")]
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(make_csv_row(row, sys.stdout.isatty()) for row in rows)


def start_explainer(chosen: trained.Trained, target: Path) -> "Explainer":
    """An explainer that draws into the folder `target`; it needs the model's Keras file. Raises
    `UserError`."""
    if target.exists() and not target.is_dir():
        raise UserError(f"--explain {target}: this is a file; the pictures need a folder")
    trained.check_keras(chosen.folder, chosen.training)
    from stages.training import backend

    backend.start(chosen.training.train.threads, chosen.training.train.instruction_set)
    from commands.predicting.grad_cam import Explainer

    return Explainer(chosen.folder / "model.keras", target)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        type=cli.parse_path,
        metavar="PATH",
        help="an image file, or a folder with images",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a model below models/, or a model's folder (default: the selected model)",
    )
    parser.add_argument(
        "--format",
        choices=("table", "json", "csv"),
        default="table",
        help="format of the output (default: %(default)s)",
    )
    parser.add_argument(
        "--top",
        type=cli.number_between(int, 1),
        default=3,
        metavar="K",
        help="how many classes to list per file (default: 3)",
    )
    parser.add_argument(
        "--int8", action="store_true", help="run the network that was exported in 8-bit integers"
    )
    parser.add_argument(
        "--refuse",
        action="store_true",
        help="give no class below the confidence chosen by export.accepted_accuracy",
    )
    parser.add_argument(
        "--explain",
        type=cli.parse_path,
        metavar="FOLDER",
        help="write a picture per file into FOLDER that shows where the model looked",
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
    files = list(find_files(paths))
    if explainer:
        explainer.prepare_outputs(files)
    classified = classify(files, predict, training, top, confidence, read_limits())
    for row, path, image in progress.track(classified, "predictions", "images", len(files)):
        if isinstance(row, str):
            failed += 1
            progress.say(f"error: {escape.terminal(path)}: {row}", sys.stderr)
            continue
        if format == "table":
            progress.say(format_line(row, width))
        else:
            rows.append(row)
        if explainer and row["class"] is not None:
            explainer.draw(path, image, training.class_names.index(row["class"]))
    if format == "json":
        print(escape.as_json(rows))
    elif format == "csv":
        write_csv(rows, min(top, len(training.class_names)) + refuse)
    if failed:
        raise UserError(f"{failed} file{'s' * (failed != 1)} could not be classified: see above")


def start() -> None:
    """The command `predict`."""
    cli.run(main, __doc__, add_options)


if __name__ == "__main__":
    start()
