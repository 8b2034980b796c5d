"""What is said of an experiment of the documents: the verdict on its accuracy, and which of the
document's conditions it met; and mistakes in its entry. (The second pipeline runs in
``test_replicate``.)"""

from pathlib import Path

import numpy as np
import pytest

from stages import params
from stages.replications import options
from stages.replications.table import (
    Spread,
    estimate_noise,
    judge_replication,
    measure_conditions,
    pool_spreads,
)
from stages.runtime.errors import UserError


def published(accuracy: float) -> options.Published:
    return options.Published(
        parameters=1, accuracy=accuracy, of="test", epoch="final", images=10000, text_accuracy=None
    )


@pytest.mark.parametrize(
    ("published", "obtained", "noise", "reduced", "expected"),
    [
        (0.90, 0.905, 0.006, False, "within noise"),
        (0.90, 0.91, 0.006, False, "above"),
        (0.90, 0.89, 0.006, False, "below"),
        (0.90, 0.50, None, True, "reduced budget"),
        (None, 0.50, None, False, "nothing published"),
    ],
)
def test_verdict(published, obtained, noise, reduced: bool, expected: str):
    assert judge_replication(published, obtained, noise, reduced) == expected


@pytest.mark.parametrize(("seeds", "images"), [(3, 400), (5, 400), (3, None)])
def test_chance_alone_exceeds_the_noise_once_in_twenty_times(seeds: int, images: int | None):
    """By simulation: a document's run and ours of equal networks, whose true accuracies differ by
    the seed; `images` None: both on the same ones, whose choice then plays no part."""
    random, sd, runs = np.random.default_rng(0), 0.01, 4000
    exceeded = 0
    for theirs, *ours in random.normal(0.8, sd, (runs, seeds + 1)):
        ours, spread = np.array(ours), Spread(np.std(ours, ddof=1), seeds - 1)
        if images:  # the document's, and others that all of our seeds have in common
            theirs += random.binomial(images, 0.8) / images - 0.8
            ours += random.binomial(images, 0.8) / images - 0.8
        said = published(theirs).model_copy(update={"images": images or 10000})
        noise = estimate_noise(said, ours.mean(), images or 10000, seeds, spread, not images)
        exceeded += abs(ours.mean() - theirs) > noise
    assert exceeded / runs == pytest.approx(0.05, abs=0.01)


def test_spreads_are_pooled_by_their_degrees_of_freedom():
    assert pool_spreads([Spread(0.01, 2), Spread(0.03, 6)]) == (pytest.approx(0.02646, abs=1e-5), 8)
    assert pool_spreads([]) is None


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
