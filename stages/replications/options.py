"""The schema of ``replications/params.yaml``, and functions that read and complete it. The
architectures are the root's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from stages import params
from stages.params.fields import Count, Name, Section, Seed, suggest
from stages.params.recipe import Train
from stages.params.schema import Augment, Params, Preprocess, Split
from stages.storage.prepared import Prepared

FILE = Path("replications/params.yaml")
FOLDER = Path("replications")
TRAINED = FOLDER / "trained"
SCRATCH = FOLDER / "from-scratch.txt"
# what each experiment gives: the values in `common` would be another recipe
GIVEN = {"optimizer", "learning_rate", "optimizer_arguments", "loss", "batch_size", "epochs"}


class Common(Section):
    """Defaults for all experiments; `seed` is that of the split."""

    seed: Seed
    train: Train
    augment: Augment


class Variant(Section):
    """A data set as a document prepared it."""

    dataset: str
    seed: Seed | None = None  # of the split, in place of the common one
    split: Split
    preprocess: Preprocess


class Budget(Section):
    """Limits on what a run here spends; empty: in full, as in the document."""

    epochs: Count | None
    train: Count | None
    evaluation: Count | None


class Entry(Section):
    """One experiment of a document. `augment` and `train` hold the keys that differ from `common`;
    `minutes` is the expected duration."""

    variant: str
    architecture: str
    # from-scratch.txt; the folder of another trained experiment; or weights/ARCHITECTURE
    starts_from: str
    keep_model: bool  # and the optimizer's state, for an experiment that starts from this one
    evaluate_in_training_mode: bool  # whether dropout stays on when images are predicted
    augment: dict[str, Any]
    train: dict[str, Any]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    budget: Budget
    minutes: float


class Replications(Section):
    """The whole of ``replications/params.yaml``."""

    common: Common
    weights: list[Name]  # architectures with pre-trained weights
    variants: dict[Name, Variant]
    experiments: dict[Name, Entry]


def load() -> tuple[Params, Replications]:
    """Read and check the root's and the replications' parameters. Raises `UserError` with a line
    for each problem."""
    root = params.load()
    return root, params.read_checked(FILE, Replications, lambda content: cross_check(root, content))


def cross_check(root: Params, replications: Replications) -> Iterator[params.Problem]:
    """The problems that span sections or both files."""
    for name, variant in replications.variants.items():
        if variant.dataset not in root.datasets:
            yield (
                ("variants", name, "dataset"),
                f"{variant.dataset!r} is not known. {suggest(variant.dataset, root.datasets)}",
            )
    for name, entry in replications.experiments.items():
        if len(set(entry.seeds)) < len(entry.seeds):
            yield ("experiments", name, "seeds"), f"{entry.seeds}: one of them is there twice"
        known = {"variant": replications.variants, "architecture": root.architectures}
        unknown = {
            key: getattr(entry, key) for key in known if getattr(entry, key) not in known[key]
        }
        for key, value in unknown.items():
            yield (
                ("experiments", name, key),
                f"{value!r} is not known. {suggest(value, known[key])}",
            )
        if not unknown:
            yield from check_weights(root, replications, name)
        yield from check_start(replications, name)
        yield from check_recipe(replications, name)


def check_recipe(replications: Replications, name: str) -> Iterator[params.Problem]:
    """What is wrong with the recipe or the augmentation of the experiment `name`."""
    entry = replications.experiments[name]
    if missing := sorted(GIVEN - {*entry.train}):
        yield ("experiments", name, "train"), f"{', '.join(missing)} must be given"
    for key, schema, complete in (
        ("train", Train, complete_train),
        ("augment", Augment, complete_augment),
    ):
        try:
            recipe = complete(replications.common, entry)
        except ValidationError as error:
            for details in error.errors():
                keys, message = params.explain(details, getattr(entry, key), schema)
                yield ("experiments", name, key, *keys), message
            continue
        if key == "train":
            yield from check_calibration(name, entry, recipe)


def check_calibration(name: str, entry: Entry, recipe: Train) -> Iterator[params.Problem]:
    """The conflicts with the calibration of the experiment `name`, if it has one."""
    for key in ("keep_model", "evaluate_in_training_mode"):
        if recipe.calibration != "none" and getattr(entry, key):
            yield (
                ("experiments", name, key),
                "it must be false where train.calibration is on: the network that is calibrated is "
                "neither the one to go on from, nor one with dropout",
            )


def check_start(replications: Replications, name: str) -> Iterator[params.Problem]:
    """What is wrong with the experiment that `name` starts from, if it starts from one."""
    entry = replications.experiments[name]
    start, place = find_start(entry), ("experiments", name, "starts_from")
    if start is None:
        pretrained = entry.architecture in replications.weights
        if Path(entry.starts_from) != SCRATCH and not pretrained:  # `check_weights` judges these
            yield place, f"it must be {SCRATCH}, {TRAINED}/NAME, or pre-trained weights"
        return
    other = replications.experiments.get(start)
    if other is None:
        known = replications.experiments
        yield place, f"{start!r} is no experiment. {suggest(start, known)}"
        return
    if not other.keep_model:
        yield place, f"keep_model of {start} must be true"
    if other.architecture != entry.architecture:
        yield place, f"{start} has the architecture {other.architecture}"
    if missing := sorted({*entry.seeds} - {*other.seeds}):
        yield ("experiments", name, "seeds"), f"{start} has none of {missing}"


def find_start(entry: Entry) -> str | None:
    """The experiment that another one, with this `entry`, starts from; None if it starts from
    none."""
    start = Path(entry.starts_from)
    return start.name if start.parent == TRAINED else None


def check_weights(root: Params, replications: Replications, name: str) -> Iterator[params.Problem]:
    """The conflicts with the pre-trained weights of the experiment `name`, if it has any."""
    entry = replications.experiments[name]
    if not root.architectures[entry.architecture].pretrained:
        return
    place = f"{FOLDER}/weights/{entry.architecture}"
    if entry.starts_from != place or entry.architecture not in replications.weights:
        yield (
            ("experiments", name, "starts_from"),
            f"{entry.architecture} has pre-trained weights: it must be {place}, and `weights` list "
            "the architecture",
        )


def open_prepared(entry: Entry) -> Prepared:
    """The data of an experiment, limited to its budget."""
    most = {
        "train": entry.budget.train,
        "validation": entry.budget.evaluation,
        "test": entry.budget.evaluation,
    }
    return Prepared(FOLDER / "data" / entry.variant / "prepared", most)


def complete_train(common: Common, entry: Entry) -> Train:
    """The complete recipe of an experiment: its own keys, else those of `common`, with the epochs
    limited to the budget. Raises pydantic's ValidationError if that is invalid."""
    values = common.train.model_dump() | entry.train
    stopping = values["early_stopping"]
    if isinstance(stopping, dict):
        values["early_stopping"] = common.train.early_stopping.model_dump() | stopping
    recipe = Train.model_validate(values)
    return recipe.model_copy(
        update={"epochs": min(recipe.epochs, entry.budget.epochs or recipe.epochs)}
    )


def complete_augment(common: Common, entry: Entry) -> Augment:
    """The complete augmentation of an experiment."""
    return Augment.model_validate(common.augment.model_dump() | entry.augment)
