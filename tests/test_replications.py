"""What is reported of a replicated experiment: the verdict on its accuracy, and which of the
document's conditions it met; and mistakes in its entry. (The pipeline runs in ``test_replicate``.)
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from stages import params
from stages.drawing import charts
from stages.metrics.diagnostics import tabulate_confusion
from stages.metrics.tabulation import tabulate_curves
from stages.replications import figures, learning_curves, options, publications
from stages.replications.evaluate import take_published_measure
from stages.replications.table import (
    add_variations,
    build_row,
    count_earlier_epochs,
    measure_conditions,
)
from stages.replications.verdicts import (
    Spread,
    Spreads,
    estimate_noise,
    find_origin,
    judge_replication,
    measure_spreads,
    pool_spreads,
)
from stages.runtime.errors import UserError


def published(accuracy: float) -> publications.Published:
    return publications.Published(
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
def test_the_verdict_depends_on_noise_and_budget(
    published, obtained, noise, reduced: bool, expected: str
):
    assert judge_replication(published, obtained, noise, reduced) == expected


@pytest.mark.parametrize(("images", "pooled"), [(400, False), (10000, False), (10000, True)])
def test_chance_alone_exceeds_the_noise_once_in_twenty_times(images: int, pooled: bool):
    """By simulation: a document's run on 10,000 images and three seeds of the same network, whose
    true accuracies vary by seed. Equally many images are the same ones, whose choice then does not
    matter. `pooled`: a single seed, with the spread of three others."""
    random, sd, runs, exceeded = np.random.default_rng(0), 0.01, 4000, 0
    for published_accuracy, *obtained in random.normal(0.8, sd, (runs, 4)):
        obtained = np.array(obtained)
        if pooled:
            spread = Spread(np.std([published_accuracy, *obtained[:2]], ddof=1), 2)
            obtained = obtained[2:]
            published_accuracy = random.normal(0.8, sd)
        else:
            spread = Spread(obtained.std(ddof=1), 2)
        if images != 10000:  # the document's images, and others that our seeds share
            published_accuracy += random.binomial(10000, 0.8) / 10000 - 0.8
            obtained += random.binomial(images, 0.8) / images - 0.8
        both = Spreads(spread, spread)
        noise = estimate_noise(
            published(published_accuracy), obtained.mean(), images, len(obtained), both
        )
        exceeded += abs(obtained.mean() - published_accuracy) > noise
    assert exceeded / runs == pytest.approx(0.05, abs=0.01)


def result(*accuracies: float) -> dict:
    """The content of result.json for a run with a seed for each accuracy."""
    part = {"images": 10000}
    seeds = {
        str(seed): {"obtained": accuracy, "parameters": 1, "epochs": 5, "test": part}
        for seed, accuracy in enumerate(accuracies)
    }
    parameters = {"budget": dict.fromkeys(("epochs", "train", "evaluation"))}
    return {"seeds": seeds, "images": {"train": 60000}, "parameters": parameters}


def test_each_row_takes_its_own_spread_or_that_of_its_data_set():
    """A recipe is compared with a document's network, which has the spread of the documents'."""
    _, replications = options.load()
    names = ("mnist-convnet", "mnist-dense", "mnist-whitened", "cifar10-own", "cifar10-experiment1")
    documents = publications.read_documents(names)
    datasets = {name: name.partition("-")[0] for name in names}
    results = {
        "mnist-convnet": result(0.98, 0.99, 1.0),
        "mnist-whitened": result(0.9962, 0.9963, 0.9964),
        "mnist-dense": result(0.97, 0.98),  # two seeds are too few for a spread
        "cifar10-experiment1": result(0.1, 0.1, 0.1),  # it learns nothing
    }
    spreads = measure_spreads(results, {name: documents[name] for name in names}, datasets)
    documents_own, recipes_own = (pytest.approx(0.01), 2), (pytest.approx(0.0001), 2)
    assert spreads["mnist-convnet"] == (documents_own, documents_own, documents_own)
    assert spreads["mnist-dense"] == (documents_own, documents_own, None)
    assert spreads["mnist-whitened"] == (recipes_own, documents_own, recipes_own)
    assert spreads["cifar10-own"] == (None, None, None)
    name = "mnist-whitened"
    entry = replications.experiments[name]
    row = build_row(name, documents[name], entry, "mnist", results[name], spreads[name])
    assert row["verdict"] == "within noise"  # a run of the document's network may be that good
    assert (row["obtained"], row["spread"], row["seeds"]) == (
        pytest.approx(0.9963), pytest.approx(0.0001), 3,
    )  # fmt: skip
    alone = Spreads(spreads[name].ours, spreads[name].ours)
    row = build_row(name, documents[name], entry, "mnist", results[name], alone)
    assert row["verdict"] == "above"


def test_a_variation_of_a_recipe_is_judged_as_the_recipe_is():
    documents = publications.read_documents(["mnist-whitened"])
    documents["mnist-whitened-longer"] = documents["mnist-whitened"].model_copy(
        update={"document": "variations"}
    )
    names = ["mnist-convnet", "mnist-whitened", "mnist-whitened-longer"]
    recipe = result(0.9998, 0.9999, 1.0)
    results = dict(zip(names, (result(0.97, 0.98, 0.99), recipe, recipe)))
    spreads = measure_spreads(
        results, {name: documents[name] for name in names}, dict.fromkeys(names, "mnist")
    )
    assert spreads["mnist-whitened-longer"] == spreads["mnist-whitened"]
    assert spreads["mnist-convnet"].ours.freedom == 2  # its own seeds alone
    # of two origins that its name begins with, the longer one
    more = "cifar100-simple-cnn-more"
    documents[f"{more}-images"] = documents["mnist-whitened-longer"]
    assert find_origin(f"{more}-images", documents) == more


@pytest.mark.parametrize(
    ("of", "epoch", "expected"),
    [("validation", "final", 0.7), ("validation", "best", 0.9), ("test", "final", 0.8)],
)
def test_the_accuracy_beside_the_published_one_is_of_the_same_part_and_epoch(
    of: str, epoch: str, expected: float
):
    facts = published(0.8).model_copy(update={"of": of, "epoch": epoch})
    history = pd.DataFrame(
        {
            "accuracy": [0.6, 0.95, 1.0],
            "val_accuracy": [0.5, 0.9, 0.7],
            "loss": [3.0, 2.0, 1.0],
            "val_loss": [3.0, 2.0, 2.5],
        },
        index=pd.RangeIndex(1, 4, name="epoch"),
    )
    curves = tabulate_curves(history, "own")
    metrics = {"validation": {"accuracy": 0.9}, "test": {"accuracy": 0.8}}
    assert take_published_measure(facts, metrics, curves) == expected


def test_measuring_on_other_images_adds_noise_even_where_as_many():
    same, spreads = published(0.8), Spreads(Spread(0.001, 2), Spread(0.001, 2))
    other = same.model_copy(update={"same_images": False})
    noise, more = (estimate_noise(of, 0.8, same.images, 1, spreads) for of in (same, other))
    assert more > noise


def test_a_variation_is_drawn_beside_the_curve_of_its_experiment():
    name = "flowers-v7-improvement2-gap"
    documents = publications.read_documents([name, f"{name}-unstopped", "flowers-few-whitened"])
    curves = add_variations(publications.read_published_curves(), documents)
    own, varied = (
        curves[curves["experiment"] == experiment].drop(columns="experiment").to_numpy()
        for experiment in (name, f"{name}-unstopped")
    )
    assert len(own) and np.array_equal(own, varied, equal_nan=True)
    assert "flowers-few-whitened" not in set(curves["experiment"])  # a recipe of our own


def test_seeds_without_a_spread_leave_only_the_rounding_of_the_published_figure():
    same = Spread(0.0, 4)
    for seeds in (1, 5, 9):
        assert 4e-5 < estimate_noise(published(0.1), 0.1, 10000, seeds, Spreads(same, same)) < 6e-5


def test_chance_exceeds_the_noise_once_in_twenty_times_where_spreads_differ():
    """Our three seeds hardly differ; the document's network varies much, as three others show."""
    random, runs, exceeded = np.random.default_rng(0), 4000, 0
    for published_accuracy, *known in random.normal(0.8, 0.01, (runs, 4)):
        obtained = random.normal(0.8, 0.001, 3)
        both = Spreads(Spread(obtained.std(ddof=1), 2), Spread(np.std(known, ddof=1), 2))
        noise = estimate_noise(published(published_accuracy), obtained.mean(), 10000, 3, both)
        exceeded += abs(obtained.mean() - published_accuracy) > noise
    assert exceeded / runs == pytest.approx(0.05, abs=0.01)


def test_a_spread_known_of_one_side_alone_does_not_stand_for_both():
    known = Spread(0.001, 2)
    alone = estimate_noise(published(0.8), 0.8, 10000, 3, Spreads(None, None))
    for spreads in (Spreads(known, None), Spreads(None, known)):
        assert estimate_noise(published(0.8), 0.8, 10000, 3, spreads) > alone


def test_spreads_are_pooled_by_their_degrees_of_freedom():
    assert pool_spreads([Spread(0.01, 2), Spread(0.03, 6)]) == (pytest.approx(0.02646, abs=1e-5), 8)
    assert pool_spreads([]) is None


@pytest.mark.parametrize(
    ("limit", "images", "ran", "expected"),
    [
        (None, 3454, 35, (1, 1, 1)),  # early stopping may end it elsewhere: the rule is the same
        (2, 345, 40, (0.1, 0.05, 1)),
        (None, 4000, 35, (1, 1, 1)),
        (1, 3454, None, (1, None, 1)),  # no such run was published
    ],
)
def test_the_shares_met_of_the_documents_conditions(limit, images, ran, expected):
    budget = {"epochs": limit, "train": None, "evaluation": None}
    facts = publications.read_documents(["flowers-v7-base"])["flowers-v7-base"].model_copy(
        update={"trained": publications.Trained(images=3454, epochs=ran)}
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
        params.read_checked(file, publications.Documents)
    with pytest.raises(UserError, match="says nothing of new"):
        publications.read_documents(["mnist-dense", "new"])


def test_a_published_curve_is_wide_only_between_consecutive_epochs():
    axes = Figure().subplots()
    printed = pd.DataFrame({"epoch": [1, 2, 5], "accuracy": [0.1, 0.2, 0.5]})
    learning_curves.plot_published(axes, printed, "accuracy", "C0")
    wide, thin = sorted(axes.lines, key=lambda line: -line.get_linewidth())
    assert np.isnan(wide.get_ydata()).tolist() == [False, False, True, True, False]
    assert thin.get_ydata().tolist() == [0.1, 0.2, 0.5]


def test_the_pictures_of_the_longest_name_show_all_of_their_titles():
    _, replications = options.load()
    name, labels = max(replications.experiments, key=len), np.array([0, 1])
    layer = {"type": "Dense", "name": "dense", "parameters": 1, "output_shape": [2]}
    training = {"layers": [layer], "parameters": {"total": 134_281_029}}
    cells = tabulate_confusion(labels, labels, ["a", "b"])
    for figure in (
        figures.draw_confusion(f"{name}, validation images", cells, ["a", "b"]),
        figures.draw_roc(f"{name}, validation images", labels, np.eye(2), ["a", "b"]),
        figures.draw_architecture(name, training),
    ):
        figure.draw_without_rendering()
        drawn = figure.get_tightbbox()
        assert drawn.x0 >= 0 and drawn.x1 <= figure.get_size_inches()[0]


@pytest.mark.parametrize(
    ("text", "named"), [("experiment,epoch\none,1\n", "val_accuracy"), ('a\n"', "no CSV")]
)
def test_published_curves_that_cannot_be_read_are_named(
    text: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(publications, "FOLDER", tmp_path)
    (tmp_path / "published_curves.csv").write_text(text)
    with pytest.raises(UserError, match=rf"published_curves\.csv .*{named}"):
        publications.read_published_curves()


def test_the_start_of_fine_tuning_is_marked_where_the_head_was_trained_before():
    phases = {"both": ["head"] * 3 + ["fine-tuning"] * 2, "one": ["fine-tuning"] * 2}
    curves = pd.concat(
        pd.DataFrame({"model": model, "epoch": range(1, len(phase) + 1), "phase": phase})
        for model, phase in phases.items()
    )
    assert charts.find_phases(curves).values.tolist() == [["both", 3.5]]
    assert charts.find_phases(curves.drop(columns="phase")).empty


def test_published_epochs_count_on_where_an_experiment_continues_another():
    _, replications = options.load()
    entries = replications.experiments
    documents = publications.read_documents(entries)
    first, more = (entries[f"cifar100-simple-cnn{ending}"] for ending in ("", "-more"))
    assert count_earlier_epochs(more, documents) == 10
    assert count_earlier_epochs(first, documents) == 0
