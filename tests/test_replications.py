"""What is said of an experiment of the documents: the verdict on its accuracy, and which of the
document's conditions it met; and mistakes in its entry. (The second pipeline runs in
``test_replicate``.)"""

from pathlib import Path

import pytest

from stages import params
from stages.replications import options
from stages.replications.table import judge_replication, measure_conditions
from stages.runtime.errors import UserError


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
    facts = options.documents(["flowers-v7-base"])["flowers-v7-base"].model_copy(
        update={"trained": options.Trained(images=3454, epochs=ran)}
    )
    shares = measure_conditions(facts, budget, images, facts.published.images)
    assert tuple(shares.values()) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seeds": [1, 4]}, "seeds"),  # the other one has no fourth
        ({"architecture": "mnist-dense"}, "starts_from"),
        ({"starts_from": "replications/trained/cifar100-simple"}, "starts_from"),
        ({"starts_from": "replications/trained/mnist-dense"}, "starts_from"),  # keeps no model
        ({"starts_from": "replications/from-scratch"}, "starts_from"),
        ({}, None),
    ],
)
def test_an_experiment_starts_only_from_what_the_other_one_keeps(changes: dict, key: str | None):
    _, replications = options.load()
    name = "cifar100-simple-cnn-more"
    entry = replications.experiments[name].model_copy(update=changes)
    experiments = replications.experiments | {name: entry}
    problems = options.check_start(
        replications.model_copy(update={"experiments": experiments}), name
    )
    assert {place for place, _ in problems} == ({("experiments", name, key)} if key else set())


def test_a_key_that_published_does_not_have_is_named(tmp_path: Path):
    text = Path("replications/published.yaml").read_text(encoding="utf-8")
    file = tmp_path / "published.yaml"
    file.write_text(text.replace("  deviations:", "  deviation:", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"deviation: unknown key\. .*deviations"):
        params.checked(file, options.Documents)
    with pytest.raises(UserError, match="says nothing of new"):
        options.documents(["mnist-dense", "new"])
