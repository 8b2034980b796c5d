"""The second pipeline, small: real DVC runs an experiment, one that starts from
it, and the table."""

import json
import shutil

import pytest
from ruamel.yaml import YAML
from support.project import Project, ran

from stages.replications import options
from stages.replications.table import judge_replication, measure_conditions

FIRST, MORE = "cifar100-simple-cnn", "cifar100-simple-cnn-more"


def edit(project: Project, epochs: int = 2) -> None:
    """Let the two experiments run on the embedded sample, with a small network and two seeds."""
    source = "data/embedded/fashion_mnist.npz"
    project.edit_params(lambda params: params["datasets"]["cifar100"].update(source=source))
    yaml, file = YAML(), project.path("replications/params.yaml")
    content = yaml.load(file)
    for name in (FIRST, MORE):
        entry = content["experiments"][name]
        entry["architecture"] = "mnist-dense"
        entry["seeds"] = [1, 2]
        entry["train"]["epochs"] = epochs
        entry["budget"] |= {"epochs": epochs, "train": 100, "evaluation": 60}
    # the second changes nothing, so that it must end where the first did
    content["experiments"][MORE]["train"] |= {"optimizer": "sgd", "learning_rate": 1.0e-12}
    content["experiments"][MORE]["budget"]["epochs"] = 1
    yaml.dump(content, file)


def test_an_experiment_one_that_starts_from_it_and_the_table(fresh: Project):
    edit(fresh)
    target = f"replications/dvc.yaml:evaluate@{MORE}"
    assert {f"train@{FIRST}", f"train@{MORE}", f"evaluate@{MORE}"} <= set(
        ran(fresh.dvc("repro", target))
    )
    assert ran(fresh.dvc("repro", target)) == []

    fresh.dvc("repro", f"replications/dvc.yaml:evaluate@{FIRST}")
    first, more = (
        json.loads(fresh.path(f"replications/results/{name}/result.json").read_text())
        for name in (FIRST, MORE)
    )
    for seed in ("1", "2"):
        assert more["seeds"][seed]["test"] == first["seeds"][seed]["test"]
        assert first["seeds"][seed]["test"]["images"] == 60
    assert first["seeds"]["1"]["test"] != first["seeds"]["2"]["test"]
    runs = json.loads(fresh.path(f"replications/runs/{FIRST}.json").read_text())
    assert set(runs) == {"seed-1", "seed-2"}

    # predictions are kept, models only where another experiment starts from them
    for name, kept in ((FIRST, {"model.keras", "optimizer.npz"}), (MORE, set())):
        found = {path.name for path in fresh.path(f"replications/trained/{name}/seed-1").iterdir()}
        assert found == {"predictions.npz", "history.csv", "training.json"} | kept
    # so that a new metric needs no training, only the data again
    shutil.rmtree(fresh.path("replications/data"))
    with fresh.path("stages/metrics/measures.py").open("a") as code:
        code.write("# another metric\n")
    assert ran(fresh.dvc("repro", target)) == [
        "data@cifar100-test-as-validation",
        f"evaluate@{MORE}",
    ]

    # a row is what its run had, not what params.yaml allows the next one
    yaml, file = YAML(), fresh.path("replications/params.yaml")
    content = yaml.load(file)
    for name in (FIRST, MORE):
        content["experiments"][name]["budget"] = dict.fromkeys(("epochs", "train", "evaluation"))
    yaml.dump(content, file)
    fresh.stage("replications.table")
    table = fresh.path("replications/table.md").read_text()
    assert (
        table.count("reduced budget") == 2 and table.count("not run yet") == 36 + 9
    )  # and our own recipes


def published(accuracy: float | None) -> options.Published:
    return options.Published(
        parameters=1, accuracy=accuracy, of="test", epoch="final", images=10000, text_accuracy=None
    )


@pytest.mark.parametrize(
    ("accuracy", "mean", "spread", "reduced", "expected"),
    [
        (
            0.90,
            0.905,
            0.0,
            False,
            "within noise",
        ),  # two standard errors of the difference are 0.0085
        (0.90, 0.91, 0.0, False, "above"),
        (0.90, 0.89, 0.0, False, "below"),
        (0.90, 0.89, 0.008, False, "within noise"),  # the seeds alone may do that
        (0.90, 0.50, 0.0, True, "reduced budget"),
        (None, 0.50, 0.0, False, "nothing published"),
    ],
)
def test_verdict(accuracy: float | None, mean: float, spread: float, reduced: bool, expected: str):
    assert (
        judge_replication(
            published(accuracy), mean, images=10000, seeds=1, spread=spread, reduced=reduced
        )
        == expected
    )


@pytest.mark.parametrize(
    ("limit", "images", "ran", "expected"),
    [
        (None, 3454, 35, (1, 1, 1)),  # early stopping may end it sooner or later: the same rule
        (2, 345, 40, (0.1, 0.05, 1)),
        (None, 4000, 35, (1, 1, 1)),
        (1, 3454, None, (1, None, 1)),  # no such run was published
    ],
)
def test_what_is_met_of_the_documents_conditions(limit, images, ran, expected):
    budget = {"epochs": limit, "train": None, "evaluation": None}
    facts = options.documents()["flowers-v7-base"].model_copy(
        update={"trained": options.Trained(images=3454, epochs=ran)}
    )
    shares = measure_conditions(facts, budget, images, facts.published.images)
    assert tuple(shares.values()) == pytest.approx(expected, abs=0.001)
