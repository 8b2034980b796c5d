"""Train a classifier on your own photographs: a folder with one subfolder of images per class, or a
zip or tar of it, becomes a trained model with a report.

First prints what it sets in params.yaml and how long the run takes on this machine, then runs `dvc
repro`. Afterwards all settings are in params.yaml, like any other change: `git diff params.yaml`
shows them; edit them and run `dvc repro`. `dvc repro` also continues after Ctrl-C.

The network starts from weights that Keras publishes, downloaded once; without internet access, give
a file with --weights.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from commands.photographing.settings import (
    PRESETS,
    check_settings,
    plan_licence,
    plan_settings,
    write_settings,
)
from commands.photographing.survey import find_images, split_images
from commands.photographing.timing import estimate_seconds, time_decoding, time_network
from commands.pipeline.process import run_dvc
from stages import params
from stages.params.families import Application
from stages.params.names import is_published
from stages.params.reading import look_up, read_yaml
from stages.params.schema import Params
from stages.preparation.splitting import Parts
from stages.runtime import cli, experiments
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources import classes, layout, pretrained
from stages.storage import files


def announce(
    settings: dict[str, object], images: classes.Classes, parts: Parts, seconds: float
) -> None:
    """Print the plan; `seconds` is the estimated duration."""
    counts = np.bincount(images.labels)
    listed = ", ".join(f"{name} {count:,}" for name, count in zip(images.class_names, counts))
    print(f"{len(images.names):,} images of {len(counts)} classes: {printable(listed, 500)}")
    train, validation, test = (len(parts[part]) for part in ("train", "validation", "test"))
    print(f"{train:,} for training, {validation:,} for choosing the epoch, {test:,} for testing")
    _, values = read_yaml(params.FILE)
    changed = {key: value for key, value in settings.items() if look_up(key, values) != value}
    print("Changes in params.yaml:" if changed else "Nothing changes in params.yaml.")
    for key, value in changed.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        print(f"  {key}: {'' if value is None else printable(text, 1000)}")
    minutes = max(round(seconds / 60), 1)
    side = settings["preprocess.image_size"]
    # the photographs and the prepared images, each in data/ and in DVC's cache
    needed = 2 * (sum(images.sizes) + len(images.sizes) * side**2 * 3) / 1e6  # MB
    print(
        f"This takes about {minutes} minute{'s' * (minutes > 1)} and {needed:,.0f} MB of disk space"
        " on this machine. Ctrl-C stops it; `dvc repro` continues.",
        flush=True,
    )
    if (free := shutil.disk_usage(".").free / 1e6) < needed:
        print(f"note: only {free:,.0f} MB of disk space are free here", file=sys.stderr)


def choose_architecture(options: Params, name: str, weights: str | None) -> Application:
    """The pre-trained network `name` of params.yaml, starting from `weights` if they are given.
    Raises `UserError` if there is none, or none of weights."""
    architecture = options.architectures.get(name)
    if getattr(architecture, "fine_tuning", None) is None:
        raise UserError(f"params.yaml: architectures has no {name} with fine_tuning: restore it")
    if weights:
        architecture = architecture.model_copy(update={"weights": weights})
    if not architecture.weights:
        raise UserError(
            f"params.yaml: architectures.{name}.weights is empty: set it to imagenet, or give "
            "--weights"
        )
    return architecture


def conclude(model: str) -> None:
    """Print the test accuracy and what to do next."""
    test = files.read_json(Path("reports/models") / model / "metrics.json")["test"]
    share = f"{test['accuracy']:.1%} ± {test['standard_error']:.1%}"
    print(f"\n{share} of the {test['images']:,} held-out test images are classified correctly.")
    print(f"See all results:     {Path('reports/index.html').resolve().as_uri()}")
    print("Classify a picture:  python -m commands.predict PICTURE")
    print("Use it elsewhere:    exports/ holds the model as a Keras file and as ONNX")


def main(path: Path, network: str, weights: str | None, name: str, dry: bool) -> None:
    cli.exit_on_signals()
    cli.require_project()
    options, preset = params.load(), PRESETS[network]
    architecture = choose_architecture(options, preset.architecture, weights)
    is_tuned = architecture.fine_tuning.layers != "none"
    if not dry:
        experiments.refuse_beside_dvc()
    images = find_images(path, name, options)
    layout.note_copies(images.copies, path)
    parts = split_images(images, name, options)
    settings = plan_settings(path, name, preset, is_tuned, images, parts)
    settings |= plan_licence(path, name, options.datasets)
    if weights:
        settings[f"architectures.{preset.architecture}.weights"] = weights
    check_settings(settings)
    if weights and not is_published(weights) and not Path(weights).is_file():
        raise UserError(f"--weights {weights}: there is no such file")
    file = None
    if dry and is_published(architecture.weights):  # not fetched: random ones take as long
        pretrained.find(preset.architecture, architecture)
    else:
        file, _ = pretrained.obtain(preset.architecture, architecture, options.download)
    epochs = settings["train.epochs"] if is_tuned else 0
    seconds = estimate_seconds(
        parts,
        epochs,
        time_decoding(path, images, options, preset.image_size),
        *time_network(architecture, preset.image_size, options.train, file),
    )
    announce(settings, images, parts, seconds)
    if dry:
        return
    experiments.refuse_beside_dvc()
    write_settings(settings)
    if run_dvc("repro"):
        raise UserError("the run failed: fix the error above; `dvc repro` then continues")
    conclude(preset.architecture)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        type=cli.parse_path,
        metavar="PATH",
        help="a folder, zip or tar with one subfolder of images per class",
    )
    parser.add_argument(
        "--network",
        choices=PRESETS,
        default="medium",
        help="small: for a laptop; medium; accurate: slow without a GPU (default: %(default)s)",
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="file with the network's pre-trained weights"
    )
    parser.add_argument(
        "--name",
        default="photographs",
        help="name of the data set in params.yaml (default: %(default)s)",
    )
    parser.add_argument("--dry", action="store_true", help="only print what would be done")


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
