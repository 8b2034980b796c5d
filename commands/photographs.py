"""Make a classifier of your own photographs: from a folder with one folder of images a class, or a
zip or tar of it, to a trained model with its page.

Says first what it sets in params.yaml and how long that takes on this machine, then runs `dvc
repro`. Every setting stands in params.yaml afterwards, like any other change: see it by
`git diff params.yaml`, change it, and run `dvc repro`. To go on after Ctrl-C, run `dvc repro` too.

The network starts from weights that Keras publishes, which are fetched once; without internet name
a file by --weights.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update
from pydantic import TypeAdapter, ValidationError

from commands.pipeline import keys
from commands.pipeline.process import run_dvc
from stages import params
from stages.images.naming import UNREAD
from stages.params.families import Application
from stages.params.fields import Name
from stages.params.reading import read_yaml
from stages.params.recipe import Train
from stages.params.schema import Params, Source
from stages.preparation import splitting
from stages.runtime import cli, experiments, progress
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources import archives, classes, pretrained, writing
from stages.storage import files
from stages.training import backend

SPLIT = {
    "method": "stratified",
    "test": 0.2,
    "validation": 0.2,  # of those that are not for testing
    "limit_train": None,
    "limit_validation": None,
    "limit_test": None,
}
BATCH = 32  # images a step
STEPS = 500  # of fine-tuning, about
EPOCHS = (5, 20)  # of fine-tuning, at least and at most
# of SGD with momentum, at its highest: 0.001, or Adam at 0.0001, undoes what the weights know.
# Measured with MobileNet's upper half at 224 pixels on the flowers: validation accuracy 0.74 after
# an epoch at 0.001, from 0.87 of the head alone; 0.91 after three at 0.0003
LEARNING_RATE = 0.0003
UNEQUAL = 1.5  # times as many images in the largest class as in the smallest: classes are weighed
OTHER_STAGES = 60  # seconds, beside computing: starts of TensorFlow, export, reports
DECODED = 200  # photographs that are decoded and resized in a second, about


@dataclass(frozen=True)
class Preset:
    """An architecture of params.yaml, and what suits it; the accuracy on 4,317 photographs of five
    flowers is in docs/photographs.md."""

    architecture: str
    image_size: int  # pixels


PRESETS = {
    "small": Preset("pretrained-small", 160),
    "medium": Preset("pretrained-medium", 192),
    "accurate": Preset("pretrained-accurate", 224),
}


def survey(path: Path, name: str, options: Params) -> classes.Classes:
    """The images at `path` and their classes, by their names; `name` is to be the data set's.
    Raises `UserError` where nothing can be learnt from them."""
    try:
        TypeAdapter(dict[Name, Source]).validate_python({name: {"source": str(path)}})
    except ValidationError as error:
        fault = error.errors()[0]
        given = f"--name {name!r}" if "[key]" in fault["loc"] else repr(str(path))
        raise UserError(f"{given}: {fault['msg']}") from None
    if not path.exists():
        raise UserError(f"nothing lies at {str(path)!r}: give a folder, a zip or a tar file")
    if archives.kind_of(path) is None:
        raise UserError(f"{path} is neither a folder nor a zip or tar file")
    found = classes.find(*archives.survey(path, options.download.limits), path)
    writing.check_classes(found.class_names, str(path))
    unread = [one for one in found.names if one.lower().endswith(UNREAD)]
    if unread and options.download.on_bad_image == "error":
        raise UserError(
            f"{path}: {len(unread):,} of {len(found.names):,} images are in a format that is not "
            f"read, such as {printable(unread[0])}: convert them to JPEG, or set "
            "download.on_bad_image to skip, which leaves them out"
        )
    return found


def split_images(images: classes.Classes, name: str, options: Params) -> splitting.Parts:
    """The parts as the stage split will make them. Raises `UserError` where a class has too few
    images."""
    split = options.split.model_copy(update=SPLIT)
    data = splitting.Labelled(
        name, np.array(images.labels), images.class_names, images.train, images.validation
    )
    parts = splitting.choose_parts(data, split, options.seed)
    splitting.refuse_missing(parts, data, split, removed=0)
    return parts


def plan(
    path: Path,
    name: str,
    preset: Preset,
    tuned: bool,
    images: classes.Classes,
    parts: splitting.Parts,
) -> dict[str, object]:
    """The keys of params.yaml to set, with their values."""
    counts = np.bincount(images.labels[: images.train])
    steps = -(-len(parts["train"]) // BATCH)  # an epoch
    epochs = int(np.clip(round(STEPS / steps), *EPOCHS)) if tuned else 1
    return {
        "dataset": name,
        f"datasets.{name}.source": str(path),
        "models": [preset.architecture],
        **{f"split.{key}": value for key, value in SPLIT.items()},
        "preprocess.image_size": preset.image_size,
        "preprocess.aspect": "crop",
        "preprocess.channels": 3,
        "preprocess.normalisation": "none",
        "augment.horizontal_flip": True,
        "augment.vertical_flip": False,
        "augment.rotation": 10,
        "augment.zoom": 0.15,
        "augment.width_shift": 0.1,
        "augment.height_shift": 0.1,
        "augment.shear": 0,
        "augment.crop_padding": 0,
        "train.optimizer": "sgd",
        "train.learning_rate": None,
        "train.optimizer_arguments": {"momentum": 0.9},
        "train.schedule": "CosineDecay",
        "train.schedule_arguments": {
            "initial_learning_rate": 0.0,
            "warmup_target": LEARNING_RATE,
            "warmup_epochs": 1,
            "decay_epochs": max(epochs - 1, 1),
        },
        "train.loss": "categorical_crossentropy",
        "train.loss_arguments": {"label_smoothing": 0.1},
        "train.batch_size": BATCH,
        "train.epochs": epochs,
        # accuracies of few validation images are too coarse to choose an epoch by: on the flowers
        # they chose one of the head's, before fine-tuning
        "train.early_stopping.monitor": "val_loss",
        "train.early_stopping.patience": None,
        "train.early_stopping.restore_best": "always",
        "train.calibration": "temperature",
        "train.class_weight": "balanced" if counts.max() > UNEQUAL * counts.min() else "none",
    }


def check(settings: dict[str, object]) -> None:
    """Raise `UserError` where the settings contradict what else params.yaml says."""
    _, values = read_yaml(Path("params.yaml"))
    values["datasets"].setdefault(settings["dataset"], {})
    if fault := keys.find_conflict(settings, values):
        raise UserError(f"params.yaml refuses these settings: {fault}")


def write(settings: dict[str, object]) -> None:
    """Set keys of params.yaml, each given with its section: ``train.epochs``."""
    path = Path("params.yaml")
    content = parse_yaml_for_update(path.read_text(encoding="utf-8"), path)
    content["datasets"].setdefault(settings["dataset"], {})
    keys.set_all(settings, content)
    files.write_text(path, dumps_yaml(content))


def time_network(architecture: Application, size: int, train: Train) -> tuple[float, float]:
    """Seconds an image of `size` pixels takes to be predicted, and to be trained on."""
    backend.start(train.threads, train.instruction_set)
    import keras

    from stages import architectures
    from stages.training import finetuning

    arguments = architecture.model_dump(include={"network", "top", "arguments"})
    data = {"image_shape": [size, size, 3], "class_names": ["a", "b"]}
    data["rescaling"] = {"scale": [1 / 255] * 3, "offset": [0.0] * 3}
    model = architectures.build("timed", "application", arguments, data)
    finetuning.freeze(model, architecture.fine_tuning, "timed")
    model.compile("sgd", "sparse_categorical_crossentropy")
    images, labels = np.zeros((BATCH, size, size, 3), np.uint8), np.zeros(BATCH, int)
    seconds = []
    computed = (
        lambda: model.predict_on_batch(images),
        lambda: model.train_on_batch(images, labels),
    )
    for compute in progress.track(computed, "speed of this machine", "batches"):
        compute()
        before = time.perf_counter()
        compute()
        seconds.append((time.perf_counter() - before) / BATCH)
    keras.utils.clear_session()
    return seconds[0], seconds[1]


def estimate(parts: splitting.Parts, epochs: int, predicted: float, trained: float) -> float:
    """Seconds from here to the end, from those of an image. The images are predicted twice in all
    by the network as it is and as it is trained, an image and its mirror image then; and once an
    epoch the validation part."""
    images = sum(map(len, parts.values()))
    an_epoch = len(parts["train"]) * trained + len(parts["validation"]) * predicted
    return OTHER_STAGES + images * (2 / DECODED + 2 * predicted) + epochs * an_epoch


def announce(
    settings: dict[str, object], images: classes.Classes, parts: splitting.Parts, seconds: float
) -> None:
    """Print what will be done."""
    counts = np.bincount(images.labels)
    described = ", ".join(f"{name} {count:,}" for name, count in zip(images.class_names, counts))
    print(f"{len(images.names):,} images of {len(counts)} classes: {printable(described, 500)}")
    train, validation, test = (len(parts[part]) for part in ("train", "validation", "test"))
    print(f"{train:,} to train on, {validation:,} to choose the epoch on, {test:,} to test")
    print("Set in params.yaml, where every other key stays as it is:")
    for key, value in settings.items():
        print(f"  {key}: {'' if value is None else printable(value, 1000)}")
    minutes = max(round(seconds / 60), 1)
    print(
        f"This takes about {minutes} minute{'s' * (minutes > 1)} on this machine. Ctrl-C stops it; "
        "`dvc repro` goes on.",
        flush=True,
    )


def conclude(model: str) -> None:
    """Print what came of it, and what to do with it."""
    test = files.read_json(Path("reports/models") / model / "metrics.json")["test"]
    images = f"{test['images']:,} images that were kept apart"
    print(
        f"\n{test['accuracy']:.1%} ± {test['standard_error']:.1%} of {images} are classified right."
    )
    print(f"See all results:     {Path('reports/index.html').resolve().as_uri()}")
    print("Classify a picture:  python -m commands.predict PICTURE")
    print("Use it elsewhere:    exports/ holds the model as Keras file and as ONNX")


def main(path: Path, network: str, weights: str | None, name: str, dry: bool) -> None:
    cli.exit_on_sigterm()
    options, preset = params.load(), PRESETS[network]
    architecture = options.architectures.get(preset.architecture)
    tuning = getattr(architecture, "fine_tuning", None)
    if tuning is None:
        raise UserError(
            f"params.yaml: architectures has no {preset.architecture} with fine_tuning: bring it "
            "back"
        )
    if weights:
        architecture = architecture.model_copy(update={"weights": weights})
    if not architecture.weights:
        raise UserError(
            f"params.yaml: architectures.{preset.architecture}.weights is empty: set it to "
            "imagenet, or give --weights"
        )
    if not dry:
        experiments.refuse_beside_dvc()
    images = survey(path, name, options)
    parts = split_images(images, name, options)
    settings = plan(path, name, preset, tuning.layers != "none", images, parts)
    if weights:
        settings[f"architectures.{preset.architecture}.weights"] = weights
    check(settings)
    if weights and not pretrained.is_published(weights) and not Path(weights).is_file():
        raise UserError(f"--weights {weights}: there is no such file")
    if not dry:
        pretrained.bring(preset.architecture, architecture, options.download)
    epochs = 0 if tuning.layers == "none" else settings["train.epochs"]
    times = time_network(architecture, preset.image_size, options.train)
    announce(settings, images, parts, estimate(parts, epochs, *times))
    if dry:
        return
    experiments.refuse_beside_dvc()
    write(settings)
    if run_dvc("repro"):
        raise UserError("the run ended early, see above; `dvc repro` goes on from there")
    conclude(preset.architecture)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="a folder, zip or tar with one folder of images per class",
    )
    parser.add_argument(
        "--network",
        choices=PRESETS,
        default="medium",
        help="small: for a laptop; medium; accurate: slow without a GPU (default: %(default)s)",
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="the network's pre-trained weights, from this disk"
    )
    parser.add_argument(
        "--name",
        default="photographs",
        help="name of the data set in params.yaml (default: %(default)s)",
    )
    parser.add_argument("--dry", action="store_true", help="only say what would be done")


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
