"""The 38 experiments, variations of them, and our own recipes in replications/params.yaml and
published.yaml: complete, and consistent with the architectures."""

import copy
import csv
import functools
import math
import operator
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from support.project import ROOT

from stages.params.recipe import Train
from stages.replications import options
from stages.runtime.errors import UserError

TEXT = (ROOT / "replications/params.yaml").read_text(encoding="utf-8")
REPLICATIONS = YAML(typ="safe").load(TEXT)
COMMON, VARIANTS = REPLICATIONS["common"], REPLICATIONS["variants"]
PUBLISHED = YAML(typ="safe").load(
    (ROOT / "replications/published.yaml").read_text(encoding="utf-8")
)
ENTRIES = {name: entry | PUBLISHED[name] for name, entry in REPLICATIONS["experiments"].items()}
RECIPES = {name: facts for name, facts in ENTRIES.items() if facts["document"] == "recipes"}
VARIATIONS = {name: facts for name, facts in ENTRIES.items() if facts["document"] == "variations"}
EXPERIMENTS = {
    name: facts for name, facts in ENTRIES.items() if name not in {*RECIPES, *VARIATIONS}
}
ARCHITECTURES = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))[
    "architectures"
]
DOCUMENTS = YAML(typ="safe").load((ROOT / "tests/architectures.yaml").read_text(encoding="utf-8"))
OF = {name: network for network, facts in DOCUMENTS.items() for name in facts["experiments"]}
with open(ROOT / "replications/published_curves.csv", newline="") as file:
    ROWS = list(csv.DictReader(file))
CURVES = {name: [row for row in ROWS if row["experiment"] == name] for name in EXPERIMENTS}
each_experiment = pytest.mark.parametrize(("name", "facts"), EXPERIMENTS.items(), ids=EXPERIMENTS)
each_recipe = pytest.mark.parametrize(("name", "facts"), RECIPES.items(), ids=RECIPES)
# images
TRAINED_ON = {
    "mnist": 54_000,
    "fashion_mnist": 54_000,
    "cifar10": 45_000,
    "cifar100": 45_000,
    "flowers": 3_107,
}


def test_every_experiment_of_the_documents_is_there():
    assert set(EXPERIMENTS) == set(OF) and len(EXPERIMENTS) == 38


def test_every_published_curve_is_of_an_experiment():
    assert {row["experiment"] for row in ROWS} <= set(EXPERIMENTS)


def test_every_variant_is_used_and_no_two_are_equal():
    assert set(VARIANTS) == {facts["variant"] for facts in ENTRIES.values()}
    values = list(VARIANTS.values())
    assert all(value not in values[:place] for place, value in enumerate(values))


@each_experiment
def test_the_architecture_is_the_documents(name: str, facts: dict):
    assert facts["architecture"] == OF[name] and OF[name] in ARCHITECTURES
    assert facts["published"]["parameters"] == DOCUMENTS[OF[name]]["parameters"]
    size = VARIANTS[facts["variant"]]["preprocess"]["image_size"]
    assert size is None or DOCUMENTS[OF[name]]["image"] == f"{size}x{size}x3"


@each_experiment
def test_an_entry_gives_its_recipe_and_overrides_known_keys(name: str, facts: dict):
    assert set(facts["train"]) <= set(COMMON["train"]) and set(facts["augment"]) <= set(
        COMMON["augment"]
    )
    assert facts["train"]["learning_rate"] is not None
    for key in set(facts["train"]) - options.GIVEN:
        assert facts["train"][key] != COMMON["train"][key], key
    for key, value in facts["augment"].items():
        assert value != COMMON["augment"][key], key
    stopping = facts["train"].get("early_stopping", COMMON["train"]["early_stopping"])
    assert set(stopping) == set(COMMON["train"]["early_stopping"])
    assert (stopping["patience"] is None) == (stopping["restore_best"] == "never")


def test_an_experiment_overrides_what_is_common_and_its_budget_overrides_both():
    _, replications = options.load()
    for name, entry in replications.experiments.items():
        expected = COMMON["train"] | ENTRIES[name]["train"]
        if most := ENTRIES[name]["budget"]["epochs"]:
            expected["epochs"] = min(expected["epochs"], most)
        recipe = options.complete_train(replications.common, entry)
        assert recipe == Train.model_validate(expected), name
        augment = COMMON["augment"] | ENTRIES[name]["augment"]
        assert options.complete_augment(replications.common, entry).model_dump() == augment, name
    some = {"train": entry.train | {"early_stopping": {"patience": 77}}}
    recipe = options.complete_train(replications.common, entry.model_copy(update=some))
    expected = COMMON["train"]["early_stopping"] | {"patience": 77}
    assert recipe.early_stopping.model_dump() == expected
    some = {"budget": entry.budget.model_copy(update={"epochs": 1})}
    recipe = options.complete_train(replications.common, entry.model_copy(update=some))
    assert recipe.epochs == 1 < entry.train["epochs"]


@each_experiment
def test_the_budget_is_a_reduction(name: str, facts: dict):
    assert facts["budget"]["epochs"] is None or facts["budget"]["epochs"] < facts["train"]["epochs"]
    # equal limits draw the same images
    if VARIANTS[facts["variant"]]["split"]["method"] == "training":
        assert facts["budget"]["train"] == facts["budget"]["evaluation"]
    assert facts["minutes"] > 0


@each_experiment
def test_the_published_epoch_fits_the_recipe(name: str, facts: dict):
    published = facts["published"]
    assert published["text_accuracy"] != published["accuracy"] or published["accuracy"] is None
    # the excepted experiment trained all its epochs
    restored = "early_stopping" in facts["train"] and name != "flowers-v1-pilot-adadelta"
    assert (published["epoch"] == "best") == restored


@each_experiment
def test_the_documents_training_is_consistent_with_its_replication(name: str, facts: dict):
    """Its figures, its log and the settings of its replication do not contradict each other."""
    trained, published, curve = facts["trained"], facts["published"], CURVES[name]
    assert trained["epochs"] is None or trained["epochs"] <= facts["train"]["epochs"]
    if published["epoch"] == "final" and trained["epochs"]:
        assert trained["epochs"] == facts["train"]["epochs"]
    epochs = [int(row["epoch"]) for row in curve]
    assert epochs == sorted(set(epochs))
    assert all(1 <= epoch <= trained["epochs"] for epoch in epochs)
    accuracies = [float(row["val_accuracy"]) for row in curve if row["val_accuracy"]]
    if accuracies and published["of"] == "validation":
        last, best = accuracies[-1], max(accuracies)
        assert published["accuracy"] == (last if published["epoch"] == "final" else best)


def test_an_experiment_that_starts_from_another_has_its_data_and_optimizer():
    """Whether its network and seeds match, `options.load` checks."""
    assert (ROOT / options.SCRATCH).exists()
    starts = {name: Path(facts["starts_from"]) for name, facts in EXPERIMENTS.items()}
    others = {name: start.name for name, start in starts.items() if start != options.SCRATCH}
    assert others
    for name, other in others.items():
        facts, first = EXPERIMENTS[name], EXPERIMENTS[other]
        assert facts["variant"] == first["variant"], name
        assert facts["train"]["optimizer"] == first["train"]["optimizer"], name


def count_training_images(variant: dict) -> int:
    return variant["split"]["limit_train"] or TRAINED_ON[variant["dataset"]]


@each_recipe
def test_a_recipe_of_ours_is_chosen_fairly_and_is_consistent(name: str, facts: dict):
    """It is chosen on held-out images, its schedule is as long as its training, and it is compared
    with the best of its document; a pre-trained network gets pixels as they are."""
    variant, train = VARIANTS[facts["variant"]], facts["train"]
    assert variant["split"]["method"] == "stratified" and variant["split"]["test"] != "validation"
    if schedule := train.get("schedule_arguments"):
        if "decay_epochs" in schedule:
            length = schedule["warmup_epochs"] + schedule["decay_epochs"]
        else:
            steps = math.ceil(count_training_images(variant) / train["batch_size"])
            length = (schedule["warmup_steps"] + schedule["decay_steps"]) / steps
        assert length == train["epochs"]
    figures = [
        experiment["published"]["accuracy"] or 0
        for experiment in EXPERIMENTS.values()
        if experiment["document"] == variant["dataset"]
    ]
    assert facts["published"]["accuracy"] >= max(figures)
    pretrained = "weights" in ARCHITECTURES[facts["architecture"]]
    assert (facts["starts_from"] == f"replications/weights/{facts['architecture']}") == pretrained
    assert (variant["preprocess"]["normalisation"] == "none") == pretrained


def test_each_data_set_has_a_recipe_from_random_weights():
    names = [name for name, facts in RECIPES.items() if "weights" not in facts["starts_from"]]
    datasets = {VARIANTS[RECIPES[name]["variant"]]["dataset"] for name in names}
    assert datasets == set(TRAINED_ON)


@pytest.mark.parametrize(("name", "facts"), VARIATIONS.items(), ids=VARIATIONS)
def test_a_variation_changes_only_the_training(name: str, facts: dict):
    """It is named after its experiment, and compared with the same figure."""
    (varied,) = [origin for origin in EXPERIMENTS if name.startswith(f"{origin}-")]
    for key in ("variant", "architecture", "starts_from", "augment", "published"):
        assert facts[key] == EXPERIMENTS[varied][key], key
    assert facts["train"] != EXPERIMENTS[varied]["train"]


# with one experiment, since reading all takes half a second
SMALLEST = REPLICATIONS | {
    "weights": [],
    "variants": {"mnist": VARIANTS["mnist"]},
    "experiments": {"mnist-dense": REPLICATIONS["experiments"]["mnist-dense"]},
}


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("experiments.mnist-dense.train.early_stopping", None, "train.early_stopping"),
        ("experiments.mnist-dense.train", {"optimizer": "adam"}, "epochs, .* must be given"),
        ("experiments.mnist-dense.train.epochs", None, "train.epochs"),
        ("experiments.mnist-dense.train.epoch", 5, "Did you mean epochs"),
        ("experiments.mnist-dense.train.optimizer", "adm", "optimizer: 'adm'"),
        ("experiments.mnist-dense.seeds", [1, 2, 1], "twice"),
        ("experiments.mnist-dense.seeds", [2**32], "seeds"),
        ("variants.mnist.seed", -1, "variants.mnist.seed"),
        ("variants.mnist.dataset", "mnsit", "Did you mean mnist"),
    ],
)
def test_a_mistake_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, value: Any, named: str
):
    content = copy.deepcopy(SMALLEST)
    *keys, last = place.split(".")
    functools.reduce(operator.getitem, keys, content)[last] = value
    monkeypatch.chdir(tmp_path)
    (tmp_path / "replications").mkdir()
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    YAML().dump(content, options.FILE)
    with pytest.raises(UserError, match=named):
        options.load()


def test_dvc_trains_and_evaluates_each_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    (tmp_path / "replications").mkdir()
    for name in ("params.yaml", "replications/params.yaml", "replications/dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    with Repo.init(no_scm=True) as repo:
        stages = {stage.name for stage in repo.stage.collect("replications/dvc.yaml")}
    for kind, names in (("train", ENTRIES), ("evaluate", ENTRIES), ("data", VARIANTS)):
        assert {f"{kind}@{name}" for name in names} <= stages
